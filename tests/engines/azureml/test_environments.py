"""Environments as they are sent: that of the file, unless a parameter names another one of the workspace."""

import json

import pytest

from flows.engines.runs import RunStatus
from tests.azure_ml_service.service import Service
from tests.conftest import Write
from tests.engines.jobs import JobRunner, command, job, pipeline

pytestmark = pytest.mark.filterwarnings("ignore")  # of the SDK, which has many

BUILT = {"build": {"path": "./image"}}
FILES = {
    "job": {"job.yml": job("true", environment=BUILT)},
    "step": {"job.yml": pipeline({"a": command("true", environment=BUILT)})},
    "component": {
        "job.yml": pipeline({"a": {"type": "command", "component": "./component.yml"}}),
        "component.yml": json.dumps({"name": "built", **command("true", environment=BUILT)}),
    },
}


@pytest.mark.parametrize("where", FILES)
def test_environment_that_is_built_from_a_folder_is_sent_as_its_definition(
    where: str, azure_jobs: JobRunner, azure_ml: Service, write: Write
) -> None:
    dockerfile = f"FROM ubuntu:22.04\nRUN echo of a {where}\n"
    write({**FILES[where], "image/Dockerfile": dockerfile})

    outcome = azure_jobs.run().outcome

    assert outcome.status is RunStatus.COMPLETED
    made = [environment["properties"].get("build") for environment in azure_ml.documents.all("environments")]
    folders = [azure_ml.arm.path_of(build["contextUri"]) for build in made if build]
    assert dockerfile in [(folder / "Dockerfile").read_text() for folder in folders]
    assert not azure_ml.violations
