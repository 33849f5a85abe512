"""Order of the steps: what may run at once, what comes first, and whether there is a cycle."""

from graphlib import CycleError, TopologicalSorter

from flows.spec.model.job import JobSpec


def waves(spec: JobSpec) -> tuple[tuple[str, ...], ...]:
    """The steps in waves: every step needs only steps of earlier waves. Within a wave, the order of the file."""
    sorter = _sorter(spec)
    sorter.prepare()
    place = {name: at for at, name in enumerate(spec.steps)}
    found: list[tuple[str, ...]] = []
    while sorter.is_active():
        wave = tuple(sorted(sorter.get_ready(), key=place.__getitem__))
        sorter.done(*wave)
        found.append(wave)
    return tuple(found)


def order(spec: JobSpec) -> tuple[str, ...]:
    """The steps in an order in which they may run, one after the other."""
    return tuple(name for wave in waves(spec) for name in wave)


def cycle(spec: JobSpec) -> tuple[str, ...]:
    """The steps of one cycle, from a step back to itself along the flow of data; empty where there is no cycle."""
    try:
        _sorter(spec).prepare()
    except CycleError as error:
        # The standard library lists each step before those that need it: along the flow of data.
        ring: list[str] = error.args[1][:-1]
        place = {name: at for at, name in enumerate(spec.steps)}
        first = min(range(len(ring)), key=lambda at: place[ring[at]])
        ring = ring[first:] + ring[:first]
        return (*ring, ring[0])
    return ()


def _sorter(spec: JobSpec) -> "TopologicalSorter[str]":
    known = spec.steps.keys()
    return TopologicalSorter({name: step.upstream & known for name, step in spec.steps.items()})
