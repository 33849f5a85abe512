"""Outputs of jobs in a workspace, whose addresses only the run history tells, with types in its own words."""

import pytest

from tests.azure_ml_service.service import Service
from tests.conftest import Write
from tests.engines.jobs import FILE, FOLDER, JobRunner, command, pipeline

pytestmark = pytest.mark.filterwarnings("ignore")  # of the SDK, which has many

CHOSEN = "azureml://datastores/workspaceblobstore/paths/chosen/${{name}}/"


def test_outputs_of_a_pipeline_are_fetched_whoever_made_them_and_wherever_they_are(
    azure_jobs: JobRunner, azure_ml: Service, write: Write
) -> None:
    """A reused step has written below another run's name, and a path may be chosen: neither can be guessed."""
    outputs = {"file": FILE, "file_too": FILE, "folder": FOLDER, "chosen": {**FOLDER, "path": CHOSEN}}
    step = command(
        "echo file > ${{outputs.file}}; echo another > ${{outputs.file_too}}; "
        "echo folder > ${{outputs.folder}}/said; echo chosen > ${{outputs.chosen}}/said",
        outputs={name: f"${{{{parent.outputs.{name}}}}}" for name in outputs},
    )
    step["component"] = {
        **{key: step.pop(key) for key in ("environment", "command")},
        "type": "command",
        "outputs": {name: {"type": output["type"]} for name, output in outputs.items()},
    }
    write({"job.yml": pipeline({"a": step}, outputs=outputs)})

    first, second = (azure_jobs.run(fetch=tuple(outputs)) for _ in range(2))

    assert second.outcome.reused == ("a",)
    for ran in (first, second):
        assert ran.fetched["file"].read_text() == "file\n"
        assert ran.fetched["file_too"].read_text() == "another\n"
        assert (ran.fetched["folder"] / "said").read_text() == "folder\n"
        assert (ran.fetched["chosen"] / "said").read_text() == "chosen\n"
