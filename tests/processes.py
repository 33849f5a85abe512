"""The processes of this machine, as a test asks for them."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

CAP_SYS_PTRACE = 19  # linux/capability.h
PR_CAPBSET_DROP = 24  # linux/prctl.h


def commands_with(text: str) -> list[str]:
    """What identifies the processes, by command line or environment, that have this text in either."""
    found: list[str] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                command, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
                if text.encode() in command + environment:
                    found.append(f"{folder.name} {command.replace(bytes(1), b' ').decode(errors='replace')}")
    return found


def may_read_hidden_processes() -> bool:
    """Whether this process sees the environment of those that have hidden it: it has CAP_SYS_PTRACE, as root has."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> CAP_SYS_PTRACE & 1)
    return False


def without_ptrace(words: Sequence[str]) -> list[str]:
    """The command of a process that, with all it starts, sees no more of others than an ordinary user's does."""
    drop = f"ctypes.CDLL(None).prctl({PR_CAPBSET_DROP}, {CAP_SYS_PTRACE}, 0, 0, 0)"
    return [sys.executable, "-c", f"import ctypes, os, sys; {drop}; os.execv(sys.argv[1], sys.argv[1:])", *words]
