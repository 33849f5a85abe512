"""Submission of a job as the real service answers it, and its refusals, told at the place in the YAML."""

from typing import Any

import pytest

from flows.engines.engine import Engine
from flows.engines.runs import PipelineRequest, Submission
from flows.errors import SettingsError, SpecError, UserError
from tests.azure_ml_service.messages import Answer
from tests.conftest import Write
from tests.engines.azureml.recorded.answers import (
    command_job,
    component_version,
    compute,
    nothing,
    pipeline_job,
    refusal,
    run_id,
    told,
    version,
)
from tests.engines.azureml.recorded.player import Player
from tests.engines.jobs import FOLDER, JobRunner, command, job, pipeline

pytestmark = pytest.mark.filterwarnings("ignore")  # of the SDK, which has many

NAME = "lab-job"
NO_JOB = refusal(404, f"Job {NAME} was not found.", "UserError", "NotFound")
CODES = r"/codes/[^/]+/versions"


@pytest.fixture
def workspace(player: Player) -> Player:
    """A workspace that takes code, anonymous components, and a job once."""
    place = player.workspace
    player.play("GET", f"/jobs/{NAME}", NO_JOB)
    player.play("GET", "/computes/cpu-cluster-01", told(compute(place, "cpu-cluster-01")))
    code = version(place, "codes", "some-code", "1", {"codeUri": "https://lab.blob.core.windows.net:443/code/src"})
    player.play("GET", CODES, told({"value": [code]}))
    player.play("GET", "/codes/some-code/versions/1", told(code))
    plain = version(
        place, "environments", "CliV2AnonymousEnvironment", "abc", {"image": "ubuntu:22.04", "condaFile": ""}
    )
    player.play("PUT", "/environments/CliV2AnonymousEnvironment/versions/.*", told(plain, 201))
    made = component_version(place, "azureml_anonymous", run_id("component"))
    player.play("PUT", r"/components/azureml_anonymous/versions/[^/]+", told(made, 201))
    return player


def submitted(jobs: JobRunner, request: PipelineRequest | None = None) -> Submission:
    async def body(engine: Engine) -> Submission:
        return await engine.submit(request or jobs.request(job_name=NAME))

    return jobs.in_flow(body)


def test_pipeline_is_sent_with_the_versions_that_the_service_gave_its_anonymous_components(
    played_jobs: JobRunner, workspace: Player, write: Write
) -> None:
    """It answers with a GUID of its own, booleans as text, no default output, and code that is not anonymous."""
    step = command("python say.py", code="./src", outputs={"out": FOLDER})
    write({"src/say.py": "print('said')\n", "job.yml": pipeline({"a": step})})
    workspace.play("PUT", f"/jobs/{NAME}", told(pipeline_job(workspace.workspace, NAME, "NotStarted"), 201))

    submission = submitted(played_jobs)

    sent = workspace.body(f"/jobs/{NAME}")["properties"]["jobs"]["a"]
    assert sent["componentId"].endswith(f"/components/azureml_anonymous/versions/{run_id('component')}")
    assert submission.url is not None
    assert submission.url.startswith(f"https://ml.azure.com/runs/{NAME}?wsid=")
    assert (submission.canceled, submission.found) == (False, False)


def test_command_job_is_taken_with_the_output_that_the_service_adds(
    played_jobs: JobRunner, workspace: Player, write: Write
) -> None:
    write({"job.yml": job("true")})
    workspace.play("PUT", f"/jobs/{NAME}", told(command_job(workspace.workspace, NAME, "Starting"), 201))
    assert submitted(played_jobs).url is not None


def test_job_that_was_taken_with_an_answer_that_the_sdk_cannot_read_is_looked_for_and_not_sent_again(
    played_jobs: JobRunner, workspace: Player, write: Write
) -> None:
    write({"job.yml": pipeline({"a": command("true")})})
    unknown = {
        "b": {"type": "a_node_of_tomorrow", "componentId": f"{workspace.workspace.path}/components/b/versions/1"}
    }
    taken = pipeline_job(workspace.workspace, NAME, "NotStarted", jobs=unknown)
    workspace.play("GET", f"/jobs/{NAME}", NO_JOB, told(taken))
    workspace.play("PUT", f"/jobs/{NAME}", told(taken, 201))

    assert submitted(played_jobs).url is not None
    assert workspace.count("PUT", f"/jobs/{NAME}") == 1


def test_job_that_is_there_is_found_and_not_sent_again(played_jobs: JobRunner, workspace: Player, write: Write) -> None:
    """A PUT of it would be answered with 200, and would change its tags."""
    write({"job.yml": job("true")})
    workspace.play("GET", f"/jobs/{NAME}", told(command_job(workspace.workspace, NAME, "Queued")))
    assert submitted(played_jobs).found
    assert workspace.count("PUT", f"/jobs/{NAME}") == 0


REFUSED_AT: dict[str, tuple[Any, Answer, str]] = {
    "component": (
        {"a": {"type": "command", "component": "azureml:fit:9"}},
        refusal(404, "key: {W}/components/fit/versions/9, Message: Not found component fit (version: 9).", "NotFound"),
        "job.yml:11: jobs.a.component: The component fit:9 was not found in the workspace. The job lab-job was not "
        "submitted.\n    See which there are: `az ml component list --name fit --resource-group lab-rg "
        "--workspace-name lab`.",
    ),
    "environment": (
        {"a": command("true", environment="azureml:old:3")},
        refusal(400, "No environment exists for name: old, version: 3, label: ", "UserError", "NotFoundError"),
        "job.yml:11: jobs.a.environment: The environment old:3 was not found in the workspace. The job lab-job was not "
        "submitted.\n    See which there are: `az ml environment list --name old --resource-group lab-rg "
        "--workspace-name lab`.",
    ),
    "data": (
        {"a": command("true", inputs={"rows": {"type": "uri_file", "path": "azureml:rows:2"}})},
        refusal(404, "Asset not found: {W}/data/rows/versions/2", "UserError", "NotFound"),
        "job.yml:16: jobs.a.inputs.rows: The data asset rows:2 was not found in the workspace. The job lab-job was not "
        "submitted.\n    See which there are: `az ml data list --name rows --resource-group lab-rg "
        "--workspace-name lab`.",
    ),
    "compute": (
        {"a": command("true")},
        refusal(400, "{W}/computes/cpu-cluster-01 is gone.", "UserError", "NotFound"),
        "job.yml:4: settings.default_compute: The compute target cpu-cluster-01 was not found in the workspace. "
        "The job lab-job was not submitted.\n"
        "    `tandem compute create cpu-cluster-01` makes it; or choose another one.",
    ),
    "nothing": (
        {"a": command("true")},
        refusal(400, "The value is out of range.", "UserError", "BadArgument", "ArgumentInvalid"),
        "Azure ML refused the job: The value is out of range (ArgumentInvalid). The job lab-job was not submitted.",
    ),
}


@pytest.mark.parametrize("about", REFUSED_AT)
def test_refusal_of_a_pipeline_is_told_at_the_place_that_names_what_it_is_about(
    about: str, played_jobs: JobRunner, workspace: Player, write: Write
) -> None:
    steps, refused, said = REFUSED_AT[about]
    folder = write({"job.yml": pipeline(steps)})
    found = version(workspace.workspace, "data", "rows", "2", {"dataType": "uri_file", "dataUri": "azureml://x"})
    workspace.play("GET", "/data/rows/versions/2", told(found))
    body = refused.body.replace(b"{W}", workspace.workspace.path.encode())
    workspace.play("PUT", f"/jobs/{NAME}", Answer(refused.status, body, refused.headers))

    with pytest.raises(UserError) as raised:
        submitted(played_jobs)

    assert str(raised.value).replace(f"{folder}/", "") == said
    assert isinstance(raised.value, SpecError) == (about != "nothing")
    assert workspace.count("PUT", f"/jobs/{NAME}") == 1


def test_component_whose_code_cannot_change_is_told_with_what_to_write(
    played_jobs: JobRunner, workspace: Player, write: Write
) -> None:
    write({"src/say.py": "print('said')\n", "job.yml": pipeline({"a": command("python say.py", code="./src")})})
    workspace.play(
        "PUT",
        r"/components/azureml_anonymous/versions/[^/]+",
        refusal(
            400,
            'Failed to update component fit since field "code" is immutable, try specifying a new version.',
            "UserError",
            "BadArgument",
            "ArgumentInvalid",
            "UpdateComponentFailed",
        ),
    )

    with pytest.raises(UserError, match=r"is immutable.*\(UpdateComponentFailed\).*not submitted.*another version"):
        submitted(played_jobs)

    assert workspace.count("PUT", f"/jobs/{NAME}") == 0


def test_compute_target_that_is_answered_404_without_a_body_is_named_with_those_that_there_are(
    played_jobs: JobRunner, workspace: Player, write: Write
) -> None:
    write({"job.yml": job("true")})
    workspace.play("GET", "/computes/cpu-cluster-01", nothing(404))
    workspace.play("GET", "/computes", told({"value": [compute(workspace.workspace, "gpu")]}))

    with pytest.raises(
        SettingsError, match=r"no compute target 'cpu-cluster-01' in .*lab; it has: gpu\..*compute create"
    ):
        submitted(played_jobs)


def test_workspace_that_is_not_there_is_no_missing_job(played_jobs: JobRunner, workspace: Player, write: Write) -> None:
    write({"job.yml": job("true")})
    absent = (
        "The Resource 'Microsoft.MachineLearningServices/workspaces/lab' under resource group 'lab-rg' was not found."
    )
    workspace.play("GET", f"/jobs/{NAME}", refusal(404, absent, "ResourceNotFound"))

    with pytest.raises(UserError, match=r"^The workspace lab was not found\."):
        submitted(played_jobs)

    assert workspace.count("GET", "/computes.*") == 0
