"""Jobs and their children as the real service tells them: statuses, order, reuse, what is null, and how they end."""

from typing import Any

import pytest

from flows.engines.polling import Timeouts
from flows.engines.runs import RunStatus
from flows.errors import RunError, StepFailed
from tests.conftest import Write
from tests.engines.azureml.recorded.answers import (
    child,
    command_job,
    failed,
    job_of_child,
    nothing,
    pipeline_job,
    refusal,
    run_id,
    told,
)
from tests.engines.azureml.recorded.player import Player
from tests.engines.jobs import FOLDER, JobRunner, command, delivered_by, job, pipeline

pytestmark = pytest.mark.filterwarnings("ignore")  # of the SDK, which has many

NAME = "lab-job"
LINES = "\nError Code: Read.Denied\nNative Error:\n\tnot(allowed)\n"  # as what moves a step's data tells it
NO_DETAILS = told({"runId": NAME, "status": "Failed", "logFiles": {}, "warnings": [], "error": None})


def play_command(player: Player, *statuses: str) -> None:
    player.play("GET", f"/jobs/{NAME}", *(told(command_job(player.workspace, NAME, each)) for each in statuses))
    # For a limit, it is asked when the job has begun to run.
    player.play("GET", f"/runs/{NAME}", told(child(NAME, NAME, "Queued", name=NAME)))


def play_pipeline(player: Player, *statuses: str, outputs: tuple[str, ...] = ()) -> None:
    answers = [told(pipeline_job(player.workspace, NAME, each, outputs)) for each in statuses]
    player.play("GET", f"/jobs/{NAME}", *answers)


def play_children(player: Player, *lists: list[dict[str, Any]], of: str = NAME) -> None:
    player.play("GET", f"/runs/{of}/children", *(told({"value": each}) for each in lists))


def test_command_job_goes_through_every_word_of_the_service_to_its_end(
    played_jobs: JobRunner, player: Player, write: Write
) -> None:
    write({"job.yml": job("true")})
    play_command(player, "Starting", "Provisioning", "Queued", "Running", "Finalizing", "AWordOfTomorrow", "Completed")

    ran = played_jobs.run(played_jobs.request(job_name=NAME))

    assert (ran.outcome.status, ran.states()) == (RunStatus.COMPLETED, {"job": "Completed"})
    assert player.count("GET", f"/jobs/{NAME}") == 7  # one of them by whoever has looked whether it is there


@pytest.mark.parametrize("first", ["Preparing", "NotStarted"])
def test_pipeline_is_followed_from_its_first_word_though_its_children_come_late_and_in_any_order(
    first: str, played_jobs: JobRunner, player: Player, write: Write
) -> None:
    """NotStarted comes without any properties; children without a nextLink, with null inputs and outputs."""
    steps = {
        "a": command("true", outputs={"out": FOLDER}),
        "b": command("true", inputs={"it": delivered_by("a")}),
    }
    write({"job.yml": pipeline(steps)})
    play_pipeline(player, first, first, first, "Running", "Running", "Running", "Finalizing", "Completed")
    play_children(
        player,
        [],
        [],
        [child(NAME, "a", "Queued")],
        [child(NAME, "b", "NotStarted"), child(NAME, "a", "Running")],
        [child(NAME, "b", "Running"), child(NAME, "a", "Completed")],
        [child(NAME, "b", "Completed"), child(NAME, "a", "Completed")],
    )

    ran = played_jobs.run(played_jobs.request(job_name=NAME))

    assert ran.statuses() == {"a": "Completed", "b": "Completed"}
    assert ran.states() == {"a": "Completed", "b": "Completed"}
    assert ran.edges() == {("a", "b")}
    assert [step.seconds for step in ran.outcome.steps] == [7.5, 7.5]
    assert {run.total_run_time.total_seconds() for run in ran.task_runs.values()} == {7.5}


def test_child_that_the_service_calls_reused_in_text_is_shown_as_reused(
    played_jobs: JobRunner, player: Player, write: Write
) -> None:
    write({"job.yml": pipeline({"a": command("true"), "b": command("true")})})
    play_pipeline(player, "Completed")
    play_children(player, [child(NAME, "b", "Completed"), child(NAME, "a", "Completed", reused_from=run_id("before"))])

    ran = played_jobs.run(played_jobs.request(job_name=NAME))

    assert ran.outcome.reused == ("a",)
    assert ran.states() == {"a": "Cached", "b": "Completed"}


def test_node_of_which_there_are_two_runs_is_shown_as_its_newest(
    played_jobs: JobRunner, player: Player, write: Write
) -> None:
    write({"job.yml": pipeline({"a": command("true")})})
    again = child(NAME, "a", "Completed", name=run_id("again"), createdUtc="2026-03-01T11:00:00+00:00")
    play_pipeline(player, "Completed")
    play_children(player, [again, child(NAME, "a", "Failed", error=failed("UserError", "first try"))])

    assert played_jobs.run(played_jobs.request(job_name=NAME)).statuses() == {"a": "Completed"}


def test_steps_of_a_pipeline_in_a_pipeline_are_found_below_its_node_and_other_nodes_are_passed_over(
    played_jobs: JobRunner, player: Player, write: Write
) -> None:
    inner = {"type": "pipeline", "jobs": {"b": command("true")}}
    write({"job.yml": pipeline({"a": command("true"), "outer": {"type": "pipeline", "component": inner}})})
    condition = child(NAME, "condition", "Completed", name=run_id("condition"))
    play_pipeline(player, "Running", "Running", "Completed")
    play_children(
        player,
        [condition, child(NAME, "outer", "Running")],
        [child(NAME, "outer", "Completed"), condition, child(NAME, "a", "Completed")],
    )
    not_yet = refusal(404, "Run was not found", "UserError", "NotFound")
    below = told({"value": [child(run_id("outer"), "b", "Completed")]})
    player.play("GET", f"/runs/{run_id('outer')}/children", not_yet, below)

    ran = played_jobs.run(played_jobs.request(job_name=NAME))

    assert ran.statuses() == {"a": "Completed", "outer.b": "Completed"}


def test_run_history_that_does_not_know_a_new_job_yet_has_no_children_for_it(
    played_jobs: JobRunner, player: Player, write: Write
) -> None:
    write({"job.yml": pipeline({"a": command("true")})})
    play_pipeline(player, "Preparing", "Preparing", "Running", "Completed")
    unknown = refusal(404, f"Run {NAME} was not found", "UserError", "NotFound")
    player.play("GET", f"/runs/{NAME}/children", unknown, unknown, told({"value": [child(NAME, "a", "Completed")]}))

    assert played_jobs.run(played_jobs.request(job_name=NAME)).statuses() == {"a": "Completed"}


@pytest.mark.parametrize(
    "answer",
    [
        nothing(200),
        told(None, 202, location="https://management.azure.com/subscriptions/x/mfeOperationResults/jc:x:lab-job"),
        refusal(
            400, "The run is over already.", "UserError", "BadArgument", "ArgumentInvalid",
            "CancelPipelineRunInTerminalStatus",
        ),
    ],
    ids=["200, empty, without Location", "202 without Retry-After", "400: it is over"],
)  # fmt: skip
@pytest.mark.parametrize("end", ["Canceled", "Failed"])
def test_job_that_is_canceled_is_waited_for_until_it_says_that_it_is_over(
    answer: Any, end: str, played_jobs: JobRunner, player: Player, write: Write
) -> None:
    """A job may end as Failed when it is canceled, and be told as running by one that lags behind the other."""
    write({"job.yml": job("true")})
    play_command(player, *["Running"] * 8, "CancelRequested", end)
    player.play("POST", f"/jobs/{NAME}/cancel", answer)

    (said,) = played_jobs.errors_of([played_jobs.request(job_name=NAME)], Timeouts(run_timeout_seconds=0.1))

    assert "was canceled because it ran for more than 0.1 s" in said
    assert player.count("POST", f"/jobs/{NAME}/cancel") == 1


def test_cancel_that_is_refused_for_another_reason_is_told(
    played_jobs: JobRunner, player: Player, write: Write
) -> None:
    write({"job.yml": job("true")})
    play_command(player, "Running")
    refused = refusal(400, "No run can be canceled today.", "UserError", "BadArgument", "ArgumentInvalid")
    player.play("POST", f"/jobs/{NAME}/cancel", refused)

    (said,) = played_jobs.errors_of([played_jobs.request(job_name=NAME)], Timeouts(run_timeout_seconds=0.1))

    assert said == "Azure ML refused: No run can be canceled today (ArgumentInvalid)."


@pytest.mark.parametrize(
    ("error", "reason", "by_machine"),
    [
        (failed("UserError", "Execution failed.", "ExecutionFailed"), "UserError > ExecutionFailed: Execution", False),
        (failed("UserError", "It went away.", "ComputeError", "NodePreempted"), "UserError > NodePreempted: It", True),
        (failed("ServiceError", None), "ServiceError: no message", True),
        (failed("UserError", LINES), r"UserError: Error Code: Read\.Denied Native Error: not\(allowed\)\.", False),
        (None, "no reason given", False),
    ],
    ids=["the code", "its machine", "the service", "in lines", "nobody says"],
)
def test_reason_of_a_failed_step_is_its_outermost_and_innermost_code_and_decides_who_failed(
    error: Any, reason: str, by_machine: bool, played_jobs: JobRunner, player: Player, write: Write
) -> None:
    write({"job.yml": pipeline({"a": command("true")})})
    lost = child(NAME, "a", "Failed", error=error)
    play_pipeline(player, "Failed")
    play_children(player, [lost])
    player.play("GET", f"/runs/{run_id('a')}", told(lost))
    player.play("GET", f"/runs/{run_id('a')}/details", NO_DETAILS)

    ran = played_jobs.run(played_jobs.request(job_name=NAME))

    assert (ran.outcome.status, ran.failed_by_machine) == (RunStatus.FAILED, by_machine)
    with pytest.raises(StepFailed, match=reason):
        ran.outcome.raise_for_status()


def play_output(player: Player, run: str, output: str) -> None:
    """An output as only ``rundata`` tells it."""
    asset = f"azureml://locations/lab/workspaces/guid/data/azureml_{run}_output_data_{output}/versions/1"
    player.play(
        "POST", "/rundata", told({"runMetadata": {**child(NAME, "a", "Completed", name=run),
                                                  "outputs": {output: {"assetId": asset, "type": "UriFolder"}}}})
    )  # fmt: skip
    uri = player.workspace.datastore_uri("workspaceblobstore", f"azureml/{run}/{output}/")
    resolved = {asset: {"uri": uri, "type": "UriFolder", "legacyDatasetType": None}}
    player.play("POST", "/dataversion/batchGetResolvedUris", told({"values": resolved}))
    file = player.blobs.datastore_path("workspaceblobstore", f"azureml/{run}/{output}/said")
    file.parent.mkdir(parents=True)
    file.write_text("done\n")


@pytest.mark.parametrize("reused", [False, True], ids=["made", "reused"])
def test_output_of_a_pipeline_whose_address_is_null_is_fetched_from_the_run_that_made_it(
    reused: bool, played_jobs: JobRunner, player: Player, write: Write
) -> None:
    """Of a reused child, that is the run of the earlier pipeline."""
    step = command("true", outputs={"out": "${{parent.outputs.result}}"})
    write({"job.yml": pipeline({"a": step}, outputs={"result": FOLDER})})
    made_by = run_id("before") if reused else run_id("a")
    a = child(NAME, "a", "Completed", reused_from=made_by if reused else "")
    play_pipeline(player, "Completed", outputs=("result",))
    play_children(player, [a])
    for run in {run_id("a"), made_by}:
        player.play("GET", f"/jobs/{run}", told(job_of_child(player.workspace, run)))
    player.play("GET", f"/runs/{run_id('a')}", told(a))
    if reused:
        player.play("GET", f"/runs/{made_by}", told(child("an-earlier-pipeline", "a", "Completed", name=made_by)))
    play_output(player, made_by, "out")

    ran = played_jobs.run(played_jobs.request(job_name=NAME), fetch=("result",))

    assert (ran.fetched["result"] / "said").read_text() == "done\n"
    assert ran.outcome.outputs == {"result": f"azureml://jobs/{NAME}/outputs/result"}


def test_job_that_is_gone_while_it_is_waited_for_is_told(played_jobs: JobRunner, player: Player, write: Write) -> None:
    write({"job.yml": job("true")})
    there, gone = told(command_job(player.workspace, NAME, "Running")), nothing(404)
    player.play("GET", f"/jobs/{NAME}", there, there, gone)

    with pytest.raises(RunError, match=f"The job {NAME} is not in the workspace lab any more"):
        played_jobs.run(played_jobs.request(job_name=NAME))
