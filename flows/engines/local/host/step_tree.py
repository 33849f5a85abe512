"""Processes below a process, found in ``/proc``; and the child subreaper, by which none of them gets out of sight.

Imports the standard library only: the step host is run by the interpreter of the steps, which may be an old one.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, List, Set  # noqa: UP035 (the steps' interpreter may be an old one)

_SET_CHILD_SUBREAPER = 36  # of prctl(2)


def prctl() -> Any:
    """The system's ``prctl``; None where there is none, or where the children of a process cannot be listed."""
    if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        return None
    try:
        import ctypes

        return ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return None


def become_subreaper(call: Any) -> bool:
    """Make this process the parent of all below it whose own parent ends; whether that is so. Lasts beyond an exec."""
    return call is not None and call(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def children(pid: int) -> List[int]:  # noqa: UP006
    """The children of a process, ended ones that nobody has waited for among them; none if it is gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children", "rb") as listed:
                found += map(int, listed.read().split())
    return found


def descendants(pid: int) -> Set[int]:  # noqa: UP006
    """All processes below a process, in whatever session or group they are."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        new = set(children(waiting.pop())) - found
        found |= new
        waiting += new
    return found


def send(number: int, pids: Set[int], except_group: int = 0) -> None:  # noqa: UP006
    """Signal processes, but for those of a process group, which has the signal already."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) != except_group:
                os.kill(pid, number)
