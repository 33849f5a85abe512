"""Every status that Azure ML may say of a job: which of them end the wait, and what is told."""

import asyncio
from typing import Any, Literal

import pytest

from flows.engines.polling import Timeouts
from flows.engines.runs import RunStatus
from flows.errors import RunCanceled, StepFailed, UserError
from flows.settings import Settings
from tests.azure_ml_service.faults import Fault, JobFault
from tests.azure_ml_service.jobs import TERMINAL, new_job
from tests.azure_ml_service.service import Service
from tests.conftest import Write
from tests.engines.conftest import Await
from tests.engines.jobs import FILE, FOLDER, JobRunner, command, delivered_by, job, pipeline

pytestmark = pytest.mark.filterwarnings("ignore")  # of the SDK, which has many

PASSING = ("Starting", "Provisioning", "Preparing", "Queued", "Paused", "NotResponding", "Scheduled", "NoSuchWord")


@pytest.fixture
def service(azure_ml: Service, azure_jobs: JobRunner) -> Service:
    return azure_ml


def status_of(service: Service, job_name: str) -> str:
    return str(service.jobs[job_name]["status"])


def test_no_status_but_three_ends_the_wait(azure_jobs: JobRunner, service: Service, write: Write) -> None:
    """The SDK takes Paused and NotResponding for ends too, and nobody knows the words of tomorrow."""
    write({"job.yml": job("echo done > ${{outputs.out}}/said", outputs={"out": FOLDER})})
    requests = [azure_jobs.request() for _ in PASSING]
    for request, status in zip(requests, PASSING, strict=True):
        service.faults.add(JobFault("held", job=request.job_name, status=status, seconds=0.6))

    for ran in azure_jobs.run_all(*requests, fetch=("out",)):
        assert ran.outcome.status is RunStatus.COMPLETED
        assert (ran.fetched["out"] / "said").read_text() == "done\n"


def test_steps_that_are_paused_or_silent_for_a_while_go_on(
    azure_jobs: JobRunner, service: Service, write: Write
) -> None:
    steps = {name: command("true") for name in ("paused", "silent", "unheard_of")}
    write({"job.yml": pipeline(steps, force_rerun=True)})
    for step, status in zip(steps, ("Paused", "NotResponding", "NoSuchWord"), strict=True):
        service.faults.add(JobFault("held", step=step, status=status, seconds=0.6))

    ran = azure_jobs.run()

    assert ran.states() == dict.fromkeys(steps, "Completed")


def test_what_waits_too_long_is_canceled_and_told_with_its_status(
    azure_jobs: JobRunner, service: Service, write: Write
) -> None:
    write({"job.yml": job("true")})
    waiting = ("Queued", "Preparing", "Paused")
    requests = [azure_jobs.request() for _ in waiting]
    for request, status in zip(requests, waiting, strict=True):
        service.faults.add(JobFault("held", job=request.job_name, status=status))

    said = azure_jobs.errors_of(requests, Timeouts(queue_timeout_seconds=0.5, run_timeout_seconds=0.1))

    for request, status, text in zip(requests, waiting, said, strict=True):
        assert f"The job {request.job_name} was canceled because it was still {status} after" in text
        assert status_of(service, request.job_name) == "Canceled"


def test_time_in_the_queue_is_no_run_time_however_often_a_job_goes_back_there(
    azure_jobs: JobRunner, service: Service, write: Write
) -> None:
    write({"job.yml": pipeline({"a": command("true")})})
    azure_jobs.run()
    request = azure_jobs.request()
    for status in ("Queued", "Paused", "Preparing"):
        service.faults.add(JobFault("held", job=request.job_name, status=status, seconds=1.0))

    outcome = azure_jobs.run(request, timeouts=Timeouts(run_timeout_seconds=2.0)).outcome

    assert (outcome.status, outcome.reused) == (RunStatus.COMPLETED, ("a",))


def test_what_runs_too_long_is_canceled_and_told(azure_jobs: JobRunner, service: Service, write: Write) -> None:
    write({"job.yml": job("true")})
    request = azure_jobs.request()
    service.faults.add(JobFault("hang", job=request.job_name))

    (said,) = azure_jobs.errors_of([request], Timeouts(run_timeout_seconds=0.5))

    assert f"The job {request.job_name} was canceled because it ran for more than 0.5 s (run_timeout_seconds)" in said
    assert status_of(service, request.job_name) == "Canceled"


def test_what_is_silent_too_long_is_canceled_and_counts_as_a_failure_of_its_machine(
    azure_jobs: JobRunner, service: Service, write: Write
) -> None:
    write({"job.yml": pipeline({"a": command("true")}, force_rerun=True)})
    request = azure_jobs.request()
    service.faults.add(JobFault("held", job=request.job_name, status="NotResponding"))

    ran = azure_jobs.run(request, timeouts=Timeouts(not_responding_seconds=0.5))

    assert (ran.outcome.status, ran.failed_by_machine) == (RunStatus.FAILED, True)
    with pytest.raises(StepFailed, match="it has not responded for"):
        ran.outcome.raise_for_status()
    assert status_of(service, request.job_name) == "Canceled"


def test_cancel_that_was_only_asked_for_is_not_the_end(
    azure_jobs: JobRunner, service: Service, write: Write, run: Await
) -> None:
    """Somebody cancels in studio, and the job takes its time; what we say of it is what came of it."""
    steps = {"a": command("true", outputs={"out": FILE}), "b": command("true", inputs={"it": delivered_by("a")})}
    write({"job.yml": pipeline(steps, force_rerun=True)})
    request = azure_jobs.request()
    service.faults.add(JobFault("hang", step="a"))
    service.faults.add(JobFault("slow_cancel", job=request.job_name, seconds=1.0))

    async def canceled_in_studio() -> tuple[Any, str]:
        running = asyncio.create_task(azure_jobs.running(request))
        while "a" not in service.children(request.job_name):
            await asyncio.sleep(0.05)
        service.runner.cancel(request.job_name)
        while service.children(request.job_name)["a"]["status"] not in TERMINAL:
            await asyncio.sleep(0.05)
        between = status_of(service, request.job_name)
        return await running, between

    ran, between = run(canceled_in_studio())

    assert between == "CancelRequested"
    assert status_of(service, request.job_name) == "Canceled"
    assert ran.outcome.status is RunStatus.CANCELED
    assert ran.statuses() == {"a": "Canceled", "b": "NotStarted"}
    assert ran.states()["a"] == "Cancelled"
    with pytest.raises(RunCanceled, match=f"The job {request.job_name} was canceled, .*not by this run"):
        ran.outcome.raise_for_status()
    assert service.count("POST", f"/jobs/{request.job_name}/cancel") == 0


@pytest.mark.parametrize(
    ("kind", "reason"), [("fail", "UserError: Execution failed"), ("fail_silently", "no reason")], ids=str
)
def test_failure_is_told_with_the_reason_that_the_run_history_has(
    kind: Any, reason: str, azure_jobs: JobRunner, service: Service, write: Write
) -> None:
    write({"job.yml": job("true"), "pipeline.yml": pipeline({"a": command("true")})})
    alone, graph = azure_jobs.request(), azure_jobs.request("pipeline.yml", force_rerun=True)
    service.faults.add(JobFault(kind, job=alone.job_name))
    service.faults.add(JobFault(kind, step="a"))

    for ran, step in zip(azure_jobs.run_all(alone, graph), ("job", "a"), strict=True):
        assert ran.states() == {step: "Failed"}
        with pytest.raises(StepFailed, match=f"The step {step} failed") as raised:
            ran.outcome.raise_for_status()
        assert reason in str(raised.value)
        assert "An injected fault" in str(raised.value)  # which its log has


def test_pipeline_that_fails_before_it_has_children_is_told_with_its_own_reason(
    azure_jobs: JobRunner, service: Service, write: Write
) -> None:
    write({"job.yml": pipeline({"a": command("true"), "b": command("true")})})
    request = azure_jobs.request()
    service.faults.add(JobFault("fail", job=request.job_name))

    ran = azure_jobs.run(request)

    assert ran.outcome.status is RunStatus.FAILED
    assert ran.statuses() == {"a": "NotStarted", "b": "NotStarted"}
    assert set(ran.states().values()) <= {"NotReady", "Cancelled"}
    with pytest.raises(StepFailed, match=f"{request.job_name}.*UserError: Execution failed"):
        ran.outcome.raise_for_status()


@pytest.mark.parametrize("times", [3, None], ids=["late", "never"])
def test_children_may_appear_late_or_never(
    times: int | None, azure_jobs: JobRunner, service: Service, write: Write
) -> None:
    """The run history may lag behind the jobs: what matters is how the pipeline ended, and what it delivered."""
    step = command("echo done > ${{outputs.out}}/said", outputs={"out": "${{parent.outputs.out}}"})
    write({"job.yml": pipeline({"a": step}, outputs={"out": FOLDER}, force_rerun=True)})
    service.faults.add(JobFault("held", step="a", status="Queued", seconds=1.5))
    service.faults.add(Fault("GET", r"/children", "empty", times=times))

    ran = azure_jobs.run(fetch=("out",))

    assert ran.outcome.status is RunStatus.COMPLETED
    assert (ran.fetched["out"] / "said").read_text() == "done\n"
    if times is not None:
        assert ran.states() == {"a": "Completed"}


def test_children_that_are_told_after_the_end_of_the_job_are_shown_as_they_ended(
    azure_jobs: JobRunner, service: Service, write: Write
) -> None:
    write({"job.yml": pipeline({"a": command("true")}, force_rerun=True)})
    request = azure_jobs.request()
    azure_jobs.run(request)
    service.faults.add(Fault("GET", r"/children", "empty", times=2))

    ran = azure_jobs.run(request)

    assert ran.statuses() == {"a": "Completed"}
    assert ran.states() == {"a": "Completed"}


def test_cancel_that_is_refused_since_the_job_ends_at_this_moment_is_no_error(
    azure_jobs: JobRunner, service: Service, write: Write
) -> None:
    write({"job.yml": job("true")})
    request = azure_jobs.request()
    service.faults.add(JobFault("held", job=request.job_name, status="Running", seconds=3.0))
    service.faults.add(Fault("POST", r"/cancel", code=400))

    (said,) = azure_jobs.errors_of([request], Timeouts(run_timeout_seconds=0.3))

    assert "run_timeout_seconds" in said


def test_cancel_of_a_pipeline_that_has_ended_is_no_error_and_changes_nothing(service: Service, run: Await) -> None:
    """Azure ML refuses it with 400; it may have ended, or been canceled by us, since it was last looked at."""
    from flows.engines.azureml.sdk.connection import Connection
    from flows.engines.azureml.sdk.jobs import Jobs

    ended = {**new_job("ended", {"jobType": "Pipeline", "jobs": {}}), "status": "Completed"}
    service.documents.put("jobs", "ended", ended)
    connection = Connection(Settings.from_environment())
    try:
        run(Jobs(connection).cancel("ended"))
        with pytest.raises(UserError, match="unknown"):
            run(Jobs(connection).cancel("unknown"))
    finally:
        connection.close()

    assert service.count("POST", "/jobs/ended/cancel") == 1
    assert status_of(service, "ended") == "Completed"


@pytest.mark.parametrize("file", ["job.yml", "pipeline.yml"])
@pytest.mark.parametrize("kind", ["reset", "status"])
def test_request_that_may_have_made_a_job_is_not_sent_again_before_the_job_was_looked_for(
    file: str, kind: Literal["reset", "status"], azure_jobs: JobRunner, service: Service, write: Write
) -> None:
    """Left to itself, azure-core repeats the PUT, by which Azure ML sets the tags of the job anew."""
    write({"job.yml": job("true"), "pipeline.yml": pipeline({"a": command("true")})})
    service.faults.add(Fault("PUT", r"/jobs/", kind, after_work=True))
    request = azure_jobs.request(file)

    ran = azure_jobs.run(request)

    assert ran.outcome.status is RunStatus.COMPLETED
    sent = [one for one in service.requests if one.method == "PUT" and "/jobs/" in one.path]
    assert [one.path.rpartition("/")[2] for one in sent] == [request.job_name]
