"""The two commands as a person types them, in processes of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
PIPELINE = PROJECT / "flows" / "create_aml_pipeline_train.py"
JOB = PROJECT / "flows" / "create_aml_experiment_job_train.py"
ROWS = PROJECT / "data" / "diabetes-diagnostics" / "diabetes-diagnostics.csv"


class Terminal:
    """Runs commands with one local state and one Prefect API."""

    def __init__(self, home: Path, prefect_api: str | None) -> None:
        self.home = home
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "AZUREML_"))}
        self.environment = {**inherited, "TANDEM_HOME": str(home / "state"), "HOME": str(home)}
        if prefect_api is not None:
            self.environment["PREFECT_API_URL"] = prefect_api

    def run(
        self, script: Path, *flags: str, folder: Path = PROJECT, environment: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.words(script, flags),
            cwd=folder,
            env={**self.environment, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def words(self, script: Path, flags: Sequence[str]) -> list[str]:
        output = () if "--evaluation_output" in flags else ("--evaluation_output", str(self.home / "evaluation"))
        return [sys.executable, str(script), *flags, *output]

    def summary(self, script: Path, *flags: str, **how: Any) -> dict[str, Any]:
        """Run a command that must succeed, and return its summary."""
        done = self.run(script, *flags, "--json", **how)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def reused(summary: Mapping[str, Any]) -> list[str]:
    """The steps that were not run again."""
    return [step["name"] for step in summary["steps"] if step["reused"]]
