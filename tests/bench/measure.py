"""What a command costs: the whole process, from outside."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took.

    Attributes:
        wall_seconds: From start to exit.
        cpu_seconds: User and system time of the process and of every descendant that was waited for.
        peak_mib: Peak resident memory of the largest of these processes, in MiB.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_mib: float


class CommandError(Exception):
    """A measured command did not end with status 0; the text is the end of what it printed."""


def measure(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> Cost:
    """Run ``command`` in ``folder`` with exactly ``environment``; what it prints goes to ``folder/log.txt``.

    The peak is never below what this process itself holds, since a child inherits that figure: import nothing large.

    Raises:
        CommandError: the command ended with another status than 0.
    """
    log = folder / "log.txt"
    with log.open("wb") as sink:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=sink, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall_seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise CommandError(f"status {process.returncode}: {' '.join(map(str, command))}\n{last_lines(log)}")
    return Cost(wall_seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def last_lines(log: Path) -> str:
    """Read the end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def table(header: Sequence[str], texts: int, rows: Sequence[Sequence[str]]) -> str:
    """Align columns by their widest cell: the first ``texts`` to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        aligned = [
            cell.ljust(width) if position < texts else cell.rjust(width)
            for position, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(aligned).rstrip()

    return "\n".join(map(line, [header, ["-" * width for width in widths], *rows]))
