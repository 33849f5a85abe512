"""What is asked of an engine for a YAML file, before anything runs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.any_yaml.request import FileParameters, file_request
from flows.errors import SpecError
from flows.settings import Settings

JOBS = "jobs:\n  a: {type: command, command: date, environment: azureml:e:1}\n"
WORKSPACE = {
    "AZUREML_ARM_SUBSCRIPTION": "s",
    "AZUREML_ARM_RESOURCEGROUP": "g",
    "AZUREML_ARM_WORKSPACE_NAME": "w",
}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"type: pipeline\n{JOBS}", "settings.default_compute: no compute is set for a"),
        (f"settings: {{default_compute: serverless}}\n{JOBS}", "type: there is no type"),
    ],
)
def test_what_only_azure_ml_needs_is_a_fault_there_and_none_here(
    write: Callable[..., Path], home: Path, text: str, fault: str
) -> None:
    file = str(write({"job.yml": text}) / "job.yml")
    settings = Settings.from_environment({"TANDEM_HOME": str(home), **WORKSPACE})
    here, there = (FileParameters.model_validate({"file": file, "engine": engine}) for engine in ("local", "azureml"))
    assert file_request(here, settings, flow_run_id="f").spec.steps
    with pytest.raises(SpecError, match=fault):
        file_request(there, settings, flow_run_id="f")
