from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from flows.spec.graph import cycle, order, waves
from flows.spec.model.job import Component, JobKind, JobSpec, Step, StepOutput


def job(edges: dict[str, set[str]]) -> JobSpec:
    """A job of these steps, each with the steps that it reads from."""
    steps = {
        name: Step(name, Component(name, "", Path()), {read: StepOutput(read, "o") for read in sorted(reads)})
        for name, reads in edges.items()
    }
    return JobSpec(JobKind.PIPELINE, Path(), "job", steps)


DIABETES = job({"evaluate": {"train", "prep"}, "profile": {"prep"}, "train": {"prep"}, "prep": set()})


def test_waves_run_what_may_run_at_once_in_the_order_of_the_file() -> None:
    assert waves(DIABETES) == (("prep",), ("profile", "train"), ("evaluate",))


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, set[str]]:
    names = [f"s{at}" for at in range(draw(st.integers(1, 8)))]
    edges = {name: draw(st.sets(st.sampled_from(names[:at]))) if at else set[str]() for at, name in enumerate(names)}
    return {name: edges[name] for name in draw(st.permutations(names))}


@given(edges=graphs())
def test_every_step_comes_once_and_after_all_that_it_reads_from(edges: dict[str, set[str]]) -> None:
    found = order(job(edges))
    assert sorted(found) == sorted(edges)
    assert all(found.index(read) < found.index(name) for name, reads in edges.items() for read in reads)
    assert cycle(job(edges)) == ()


@given(size=st.integers(1, 6), turn=st.integers(0, 5))
def test_a_ring_is_found_from_its_first_step_along_the_flow(size: int, turn: int) -> None:
    names = [f"s{at}" for at in range(size)]
    edges = {name: {names[at - 1]} for at, name in enumerate(names)}
    spec = job({names[(at + turn) % size]: edges[names[(at + turn) % size]] for at in range(size)})
    found = cycle(spec)
    assert found[0] == found[-1] == next(iter(spec.steps))
    assert all(before in edges[after] for before, after in pairwise(found))
