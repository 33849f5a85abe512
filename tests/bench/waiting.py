"""Many flow runs that wait for their jobs in one process: prints the memory of it, in MiB, every second.

Run by ``azure_ml.py``, with the number of flow runs; the first begins alone, the others after a line on standard input.
"""

import asyncio
import sys
import warnings
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")

from flows.any_yaml.run_file import run_file  # noqa: E402

START_SECONDS = 1.0


def resident_mib() -> float:
    """The resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


async def report() -> None:
    """Print the memory until the process ends."""
    while True:
        print(f"{resident_mib():.1f}", flush=True)
        await asyncio.sleep(1)


async def main(file: str, runs: int) -> None:
    """Start the flow runs and wait with them."""
    reporting = asyncio.create_task(report())
    first = asyncio.ensure_future(run_file(file=file, engine="azureml", return_state=True))
    await asyncio.to_thread(sys.stdin.readline)
    others: list[asyncio.Future[Any]] = []
    for _ in range(runs - 1):  # one after the other: how Prefect's server bears 200 starts at once is not the question
        others.append(asyncio.ensure_future(run_file(file=file, engine="azureml", return_state=True)))
        await asyncio.sleep(START_SECONDS)
    await asyncio.gather(first, *others)
    reporting.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
