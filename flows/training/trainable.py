"""Check whether data can be trained on, by the pipeline's own prep step, which looks at every cell."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from flows.data.snapshot import Snapshot
from flows.engines.local.step_variables import passed_on
from flows.settings import Settings
from flows.spec.reading.reader import read_job

MOST_LINES = 20


def why_untrainable(path: Path, settings: Settings) -> str:
    """Run prep on a file in a folder of its own, and return what it says if it refuses the file; empty if it does not.

    The components alone know what data they take: which columns, among them the label, and which values.
    """
    prep = read_job(settings.pipeline_file).steps["prep"].component
    with tempfile.TemporaryDirectory() as place:
        code = Path(place, "code")
        Snapshot.of(prep.code, prep.additional_includes).copy_to(code)
        outputs = [
            word for name in ("train_data", "test_data", "data_report") for word in (f"--{name}", f"{place}/{name}")
        ]
        done = subprocess.run(
            [sys.executable, str(code / "prep.py"), "--data", str(path), *outputs],
            capture_output=True,
            text=True,
            env={name: value for name, value in passed_on(os.environ).items() if name != "PYTHONDONTWRITEBYTECODE"},
        )
    if not done.returncode:
        return ""
    lines = done.stderr.splitlines()
    faults = [line.removeprefix("prep: ") for line in lines if line.startswith("prep: ")]
    said = "\n".join(faults or lines[-MOST_LINES:])
    return said or f"prep ended with {done.returncode}, without a word (-9: it took more memory than there is)"
