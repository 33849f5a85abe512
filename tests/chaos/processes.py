"""The processes below one: found by parent, whatever session, group or environment they have.

This process takes in what loses its parent (a subreaper), so that nothing that a command has started gets out of sight.
"""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


@dataclass(frozen=True, slots=True)
class Process:
    """A process that has not ended, or has and was not waited for (``is_zombie``)."""

    pid: int
    parent: int
    is_zombie: bool
    command: str

    def __str__(self) -> str:
        return f"{self.pid} {self.command[:120]}"


def become_reaper() -> None:
    """Let every process below this one that loses its parent become a child of this one."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    # A shell starts what goes into its background with Ctrl+C ignored, which every command would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def end_with_parent() -> None:
    """End this process, and all that is below it, when its parent ends or SIGTERM comes."""

    def end(number: int, frame: FrameType | None) -> None:
        send([process.pid for process in below(os.getpid())], "SIGKILL")
        os._exit(128 + number)

    signal.signal(signal.SIGTERM, end)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def all_processes() -> dict[int, Process]:
    """Every process of this machine, by its id."""
    found: dict[int, Process] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        with contextlib.suppress(OSError, ValueError):
            name, _, rest = (folder / "stat").read_text(errors="replace").partition("(")[2].rpartition(")")
            state, parent = rest.split()[:2]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            pid = int(folder.name)
            found[pid] = Process(pid, int(parent), state in "ZX", command or f"[{name}]")
    return found


def below(root: int, without: Collection[int] = ()) -> list[Process]:
    """The processes below one, those nearer to it first; ``without`` some and what is below them."""
    children: dict[int, list[Process]] = {}
    for process in all_processes().values():
        children.setdefault(process.parent, []).append(process)
    found, at = list[Process](), [root]
    while at:
        next_to = sorted((p for pid in at for p in children.get(pid, ()) if p.pid not in without), key=lambda p: p.pid)
        found += next_to
        at = [process.pid for process in next_to]
    return found


def of_target(command: int, target: str) -> list[int]:
    """The processes of a command that a signal is meant for; negative ids are groups."""
    if target in ("command", "group"):
        return [command if target == "command" else -command]
    tree = [process for process in below(command) if not process.is_zombie]
    if target == "all":
        return [command, *(process.pid for process in tree)]
    return [process.pid for process in tree if _role(process, command, tree) == target][:1]


def _role(process: Process, command: int, tree: list[Process]) -> str:
    if "temporary_server" in process.command:
        return "server"
    if process.parent == command:
        return "host" if "step_host.py" in process.command else "other"
    host = [one.pid for one in tree if one.parent == command and "step_host.py" in one.command]
    if process.parent not in host:
        return "other"
    # The worker and a step may both be forks of the host, with its command line; the worker is always the first.
    first = min(one.pid for one in tree if one.parent == process.parent)
    return "worker" if process.pid == first else "step"


def send(pids: Collection[int], name: str) -> None:
    """Send a signal to processes and groups, as far as they are still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, getattr(signal, name))


def reap(known: Collection[int]) -> None:
    """Wait for the ended children of this process that nobody else waits for."""
    for process in below(os.getpid()):
        if process.is_zombie and process.parent == os.getpid() and process.pid not in known:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)


def holds_within(holds: Callable[[], object], seconds: float, pause: float = 0.02) -> bool:
    """Wait until a condition holds; whether it did in this time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


@contextlib.contextmanager
def nothing_left(without: Collection[int]) -> Generator[None]:
    """End all that is below this process when the block is left."""
    try:
        yield
    finally:
        for _ in range(50):
            left = [process.pid for process in below(os.getpid(), without) if not process.is_zombie]
            if not left:
                break
            send(left, "SIGKILL")
            time.sleep(0.02)
        reap(without)
