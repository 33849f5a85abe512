"""Finds the part of a job that is asked for among the jobs of this machine, without an event loop."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from flows.any_yaml.selection.part import Part, PartAsked, part_of
from flows.engines.local.earlier_jobs import LocalJobs
from flows.settings import Settings
from flows.spec.model.job import JobSpec

T = TypeVar("T")


def part_here(spec: JobSpec, asked: PartAsked, settings: Settings) -> Part | None:
    """The part of a job that is asked for; None for all of it.

    Raises:
        ParameterError: See :func:`flows.any_yaml.selection.part.part_of`.
    """
    return _at_once(part_of(spec, asked, LocalJobs(settings))) if str(asked) else None


def _at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that waits for nothing. To import asyncio takes longer than to plan a job."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise AssertionError("the jobs of this machine are read without waiting")
