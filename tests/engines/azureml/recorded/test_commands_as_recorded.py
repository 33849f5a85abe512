"""`tandem doctor` and `tandem reap` with the answers of the real service."""

from typing import Any

import pytest

from flows.cli.doctor.findings import Finding, Status
from flows.settings import Settings
from tests.engines.azureml.recorded.answers import (
    child,
    compute,
    container,
    job_of_child,
    nothing,
    page,
    pipeline_job,
    refusal,
    run_id,
    told,
    version,
)
from tests.engines.azureml.recorded.conftest import InWorkspace
from tests.engines.azureml.recorded.player import Player
from tests.engines.conftest import Await

pytestmark = pytest.mark.filterwarnings("ignore")  # of the SDK, which has many

OVER = refusal(
    400, "The run is over.", "UserError", "BadArgument", "ArgumentInvalid", "CancelPipelineRunInTerminalStatus"
)


def examined(run: Await) -> dict[str, Finding]:
    from flows.cli.doctor.workspace import WorkspaceChecks

    async def found() -> dict[str, Finding]:
        checks = WorkspaceChecks(Settings.from_environment())
        try:
            findings = [(await check).finding for check in checks.checks]
        finally:
            await checks.close()
        return {finding.check: finding for finding in findings}

    return run(found())


@pytest.fixture
def empty_workspace(player: Player) -> Player:
    """A workspace that has neither a compute target of ours nor an environment nor data."""
    place = player.workspace
    player.play("GET", "/computes/[^/]+", nothing(404))
    player.play("GET", "/computes", told({"value": [compute(place, "gpu")]}))
    absent = refusal(404, "No environment exists for name: x, version: y, label: ", "UserError", "NotFoundError")
    player.play("GET", "/environments/[^/]+/versions/[^/]+", absent)
    player.play("GET", "/data/[^/]+", refusal(404, "Could not find it.", "UserError", "NotFound"))
    player.play("GET", ".*/(vmSizes|usages)", refusal(403, "No.", "AuthorizationFailed"))
    return player


def test_doctor_takes_a_404_without_a_body_and_one_of_the_users_for_what_is_not_there_yet(
    empty_workspace: Player, run: Await
) -> None:
    found = examined(run)

    assert {check: finding.status for check, finding in found.items()} == {
        "identity": Status.OK,
        "workspace": Status.OK,
        "compute": Status.FAIL,
        "quota": Status.SKIP,
        "environment": Status.OK,
        "data asset": Status.OK,
    }
    assert found["compute"].message == "there is no cpu-cluster-01; the workspace has: gpu"
    assert found["quota"].message == (
        "cannot be asked: The identity may not do this in the workspace: No (AuthorizationFailed)."
    )


def test_doctor_tells_the_newest_of_the_data_as_the_service_names_it(empty_workspace: Player, run: Await) -> None:
    place, name = empty_workspace.workspace, "diabetes-diagnostics"
    empty_workspace.play("GET", "/data/[^/]+", told(container(place, "data", name, "foo", "1")))
    found = version(place, "data", name, "foo", {"dataType": "uri_file", "dataUri": "azureml://x"})
    empty_workspace.play("GET", f"/data/{name}/versions/foo", told(found))

    assert examined(run)["data asset"].message == f"{name}:foo (uri_file) is the newest"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            refusal(
                404,
                "The Resource 'Microsoft.MachineLearningServices/workspaces/lab' under resource group 'lab-rg' was not "
                "found.",
                "ResourceNotFound",
            ),
            "The workspace lab was not found.",
        ),
        (refusal(404, "Resource group 'lab-rg' could not be found.", "ResourceGroupNotFound"), "group lab-rg was not"),
        (nothing(404), "The workspace lab was not found."),
        (page(404, "Not here"), "Not Azure ML but something on the way to it answered 404"),
    ],
    ids=["workspace", "resource group", "without a body", "page"],
)
def test_doctor_tells_a_workspace_that_is_not_there_from_a_page_that_says_so(
    answer: Any, said: str, player: Player, run: Await
) -> None:
    player.play("GET", "", answer)
    found = examined(run)
    assert found["workspace"].status is Status.FAIL
    assert said in found["workspace"].message
    assert "tandem doctor" not in found["workspace"].message


def test_job_that_is_over_when_it_is_to_be_canceled_counts_as_over_once_the_service_tells_so(
    player: Player, in_workspace: InWorkspace
) -> None:
    """The refusal comes some 15 s late, and the status may lag behind it."""
    from flows.engines.azureml.stopping import stop_job

    running, over = (told(pipeline_job(player.workspace, "lab-job", each)) for each in ("Running", "Completed"))
    player.play("GET", "/jobs/lab-job", running, running, running, over)
    player.play("POST", "/jobs/lab-job/cancel", OVER)
    said: list[str] = []

    assert in_workspace(lambda workspace: stop_job(workspace.jobs, "lab-job", 30.0, said.append)) == "Completed"
    assert said == ["job lab-job | Running, canceling", "job lab-job | over: Completed"]
    assert player.count("POST", "/jobs/lab-job/cancel") == 1


def test_child_that_is_asked_for_by_its_name_is_told_by_the_run_history(
    player: Player, in_workspace: InWorkspace
) -> None:
    """As a job it has no properties."""
    name = run_id("a")
    player.play("GET", f"/jobs/{name}", told(job_of_child(player.workspace, name)))
    player.play("GET", f"/runs/{name}", told(child("lab-job", "a", "Running")))

    found = in_workspace(lambda workspace: workspace.jobs.find(name))

    assert (found.name, found.status, found.display_name, found.compute) == (name, "Running", "a", "cpu-cluster-01")
