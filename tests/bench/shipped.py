"""The shipped classifier, trained here, and the memory of what serves it."""

import sys
import warnings
from contextlib import suppress
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
ROWS = PROJECT / "data/diabetes-diagnostics/diabetes-diagnostics.csv"


def train(folder: Path) -> list[str]:
    """Train the shipped classifier, and return its columns."""
    steps = PROJECT / "aml_steps"
    sys.path[:0] = [str(steps), str(steps / "prep"), str(steps / "train")]
    warnings.filterwarnings("ignore")
    import data_file
    import prep
    import train as step
    from columns import FEATURES

    prepared = prep.prepare(data_file.read(ROWS), prep.Parameters())
    rows = prepared.table.take(prepared.train).to_pandas()
    step.save(step.train(rows, step.Parameters()).model, rows, folder)
    return list(FEATURES)


def memory_mib(pid: int) -> float:
    """The proportional set size of a process and all that come from it."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    waiting, kib = [pid], 0
    while waiting:
        each = waiting.pop()
        waiting += parents.get(each, [])
        with suppress(OSError):
            for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kib += int(line.split()[1])
    return kib / 1024
