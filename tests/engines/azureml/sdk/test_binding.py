"""What the Azure ML engine would send of a job, beside what the azure-ai-ml client sends of the same file by itself."""

# The client has no types worth the name; what it would send is only compared.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false

from pathlib import Path
from typing import Any

import pytest

from flows.spec.bind import bind, with_compute
from flows.spec.model.job import DataReference, JobKind, JobSpec
from flows.spec.reading.reader import read_job
from tests.spec.corpus import unlike_bodies
from tests.terminal import PROJECT

pytestmark = pytest.mark.filterwarnings("ignore")

PUBLIC_STYLE = PROJECT / "tests" / "spec" / "public_style"
JOBS = [
    path
    for path in sorted([*PUBLIC_STYLE.glob("*/*.yml"), *(PROJECT / "aml_steps").glob("*.yml")])
    if path.parent.name != "environments" and not read_job(path).is_component
]
STEP = "type: command, command: 'true', environment: 'azureml:e:1'"


def sent(spec: JobSpec) -> Any:
    from flows.engines.azureml.sdk.binding import as_sdk_job

    job = as_sdk_job(spec)
    return (job._to_job() if spec.kind is JobKind.COMMAND else job)._to_rest_object().as_dict()["properties"]


@pytest.mark.parametrize("path", JOBS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_job_is_sent_as_the_client_sends_its_file(path: Path) -> None:
    assert unlike_bodies(path) == []


def test_data_that_takes_the_place_of_the_files_is_handed_over_in_the_mode_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "job.yml"
    path.write_text(
        "command: 'true'\nenvironment: azureml:e:1\ninputs: {x: {type: uri_file, path: azureml:x:1, mode: download}}\n"
    )
    spec = bind(read_job(path), {"x": DataReference("uri_file", "azureml:x:2")})
    assert sent(spec)["inputs"]["x"] == {"jobInputType": "uri_file", "mode": "Download", "uri": "x:2"}


def test_an_input_of_a_group_takes_another_value(tmp_path: Path) -> None:
    (tmp_path / "grow.yml").write_text(
        "name: grow\ntype: command\nenvironment: azureml:e:1\n"
        "command: grow ${{inputs.tree.depth}} ${{inputs.tree.rate}}\n"
        "inputs: {tree.depth: {type: integer}, tree.rate: {type: number}}\n"
    )
    path = tmp_path / "job.yml"
    path.write_text(
        "type: pipeline\nsettings: {default_compute: azureml:cpu}\ninputs: {group.depth: 3}\njobs:\n"
        "  a: {component: ./grow.yml, inputs: {tree.depth: '${{parent.inputs.group.depth}}', tree.rate: 1}}\n"
    )
    body = sent(bind(read_job(path), {"group.depth": 4, "jobs.a.inputs.tree.rate": 2}))
    assert body["inputs"]["group.depth"]["value"] == "4"
    assert body["jobs"]["a"]["inputs"]["tree.rate"]["value"] == "2"


def test_a_compute_that_takes_the_place_of_the_files_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "job.yml"
    path.write_text(f"type: pipeline\ncompute: azureml:cpu\njobs: {{a: {{{STEP}}}}}\n")
    body = sent(with_compute(read_job(path), "gpu"))
    assert (body["settings"]["default_compute"], body["jobs"]["a"]["computeId"]) == ("gpu", "gpu")
