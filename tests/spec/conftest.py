from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from flows.errors import SpecError
from flows.spec.model.job import JobSpec
from flows.spec.reading.reader import read_job

ReadJob = Callable[..., JobSpec]
Faults = Callable[..., list[str]]

COMPONENT = """\
    name: fit
    type: command
    inputs:
      data: {type: uri_folder}
      rate: {type: number, default: 0.1, min: 0, max: 1}
      solver: {type: string, enum: [lbfgs, saga], default: lbfgs}
      champion: {type: mlflow_model, optional: true}
    outputs:
      model: {type: mlflow_model}
    command: >-
      fit ${{inputs.data}} ${{inputs.rate}} ${{inputs.solver}} $[[--champion ${{inputs.champion}}]] ${{outputs.model}}
    environment: azureml:sklearn@latest
"""


@pytest.fixture
def read(tmp_path: Path, write: Callable[[Mapping[str, str]], None]) -> ReadJob:
    """Read a job from its text; ``fit.yml`` stands beside it, and whatever else is given."""

    def _read(text: str, **files: str) -> JobSpec:
        others = {name.replace("_yml", ".yml"): content for name, content in files.items()}
        write({"fit.yml": COMPONENT, **others, "job.yml": text})
        return read_job(tmp_path / "job.yml")

    return _read


@pytest.fixture
def faults(tmp_path: Path, read: ReadJob) -> Faults:
    """The faults of a job as ``file:line: key: message | remedy``; empty where the job is right."""

    def _faults(text: str, **files: str) -> list[str]:
        try:
            read(text, **files)
        except SpecError as error:
            lines = [str(fault).replace("\n    ", " | ") for fault in error.faults]
            return [line.replace(f"{tmp_path}/", "") for line in lines]
        return []

    return _faults
