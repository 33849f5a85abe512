"""Fixtures of the steps' tests: the code of a step as it runs, data, and an MLflow store."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.terminal import PROJECT

STEPS = PROJECT / "aml_steps"
SHIPPED = PROJECT / "data" / "diabetes-diagnostics" / "diabetes-diagnostics.csv"

# Warnings of libraries about each other. All other warnings are errors.
THEIR_WARNINGS = [
    "ignore:The ``noload`` loader strategy is deprecated",  # MLflow 3.15's store, with SQLAlchemy 2.1
    "ignore:.*Any type hint is inferred as AnyType",  # mlflow.pyfunc, of its own classes, when it is imported
    "ignore::marshmallow.warnings.Marshmallow4Warning",  # azure-ai-ml's schemas
]

Script = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ignore those warnings in the tests of this folder."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            for warning in THEIR_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of an empty MLflow store; one for the session, because making one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/store.db"


@pytest.fixture(scope="module", autouse=True)
def tracking(store: str) -> Iterator[None]:
    """Let the steps log there. The variables end with the module, since other tests run in the same process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", store)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("DO_NOT_TRACK", "true")
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        yield


@pytest.fixture(scope="session")
def shipped() -> Path:
    """The data file that comes with the project: 768 rows."""
    return SHIPPED


def code_of(step: str, folder: Path) -> Path:
    """Make ``folder`` what Azure ML runs a step in: its code, and beside it what its component includes."""
    shutil.copytree(STEPS / step, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for include in yaml.safe_load((STEPS / step / "component.yml").read_text())["additional_includes"]:
        shutil.copy(STEPS / step / include, folder)
    return folder


@pytest.fixture
def run_script(tmp_path_factory: pytest.TempPathFactory) -> Script:
    """Run a step's script as Azure ML does: in a process of its own, with no more than the code of the step."""

    def run(script: Path, *arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        if (script.parent / "component.yml").is_file():
            code = code_of(script.parent.name, tmp_path_factory.mktemp("code") / script.parent.name)
            script = code / script.name
        environment = {**os.environ, "PYTHONPATH": ""}
        command = [sys.executable, str(script), *map(str, arguments)]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def make_rows() -> Callable[..., pd.DataFrame]:
    """Make plausible rows with a relation that a logistic regression can learn."""

    def make(count: int, first_patient: int = 1, seed: int = 0) -> pd.DataFrame:
        random = np.random.default_rng(seed)
        glucose, bmi, age = (
            random.integers(60, 199, count),
            random.uniform(18, 50, count),
            random.integers(21, 80, count),
        )
        odds = -1 + 0.04 * (glucose - 120) + 0.08 * (bmi - 32) + 0.03 * (age - 35)
        return pd.DataFrame(
            {
                "PatientID": np.arange(first_patient, first_patient + count),
                "Pregnancies": random.integers(0, 12, count),
                "PlasmaGlucose": glucose,
                "DiastolicBloodPressure": random.integers(50, 110, count),
                "TricepsThickness": random.integers(7, 60, count),
                "SerumInsulin": random.integers(15, 400, count),
                "BMI": bmi.round(1),
                "DiabetesPedigree": random.uniform(0.08, 2, count).round(3),
                "Age": age,
                "Diabetic": (random.random(count) < 1 / (1 + np.exp(-odds))).astype(int),
            }
        )

    return make
