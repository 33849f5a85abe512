"""A background process that ends with a ``with`` block."""

import os
import signal
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from flows.settings import PROJECT


@contextmanager
def background(
    words: Sequence[str | Path],
    environment: Mapping[str, str],
    output: int | IO[bytes] = subprocess.DEVNULL,
    grace_seconds: float = 20,
) -> Generator["subprocess.Popen[bytes]"]:
    """Run a command in the folder of the project, and end it with its children when the block is left.

    Args:
        words: The command.
        environment: All of its variables.
        output: Where what it prints goes.
        grace_seconds: How long it may take to end by itself.
    """
    process = subprocess.Popen(
        [str(word) for word in words],
        cwd=PROJECT,
        env=environment,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace_seconds)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
