"""Order of the steps: what may run at once, what comes first, and whether there is a cycle."""

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from flows.spec.model.job import JobSpec, Step


def waves(spec: JobSpec) -> tuple[tuple[str, ...], ...]:
    """The steps in waves: every step needs only steps of earlier waves. Within a wave, the order of the file."""
    return _waves(spec.steps)


def order(spec: JobSpec) -> tuple[str, ...]:
    """The steps in an order in which they may run, one after the other."""
    return order_of(spec.steps)


def order_of(steps: Mapping[str, Step]) -> tuple[str, ...]:
    """Some steps of a job in an order in which they may run; what they wait for besides is not looked at."""
    return tuple(name for wave in _waves(steps) for name in wave)


def _waves(steps: Mapping[str, Step]) -> tuple[tuple[str, ...], ...]:
    sorter = _sorter(steps)
    sorter.prepare()
    place = {name: at for at, name in enumerate(steps)}
    found: list[tuple[str, ...]] = []
    while sorter.is_active():
        wave = tuple(sorted(sorter.get_ready(), key=place.__getitem__))
        sorter.done(*wave)
        found.append(wave)
    return tuple(found)


def cycle(spec: JobSpec) -> tuple[str, ...]:
    """The steps of one cycle, from a step back to itself along the flow of data; empty where there is no cycle."""
    try:
        _sorter(spec.steps).prepare()
    except CycleError as error:
        # The standard library lists each step before those that need it: along the flow of data.
        ring: list[str] = error.args[1][:-1]
        place = {name: at for at, name in enumerate(spec.steps)}
        first = min(range(len(ring)), key=lambda at: place[ring[at]])
        ring = ring[first:] + ring[:first]
        return (*ring, ring[0])
    return ()


def _sorter(steps: Mapping[str, Step]) -> "TopologicalSorter[str]":
    known = steps.keys()
    return TopologicalSorter({name: step.upstream & known for name, step in steps.items()})
