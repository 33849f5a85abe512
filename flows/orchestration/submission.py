"""Run a job on an engine, from the request to the outcome, and submit it again where a machine failed."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from flows.engines.engine import Engine
from flows.engines.runs import PipelineRequest, RunOutcome, Submission, attempt_name, attempt_number
from flows.orchestration.suspension.suspend import may_suspend, suspend_until_over, suspended_before
from flows.tags import DATA, JOB, STUDIO_URL
from flows.training.parameters import SuspendWish

_NO_LABELS: Mapping[str, str] = MappingProxyType({})


async def run_to_end(
    engine: Engine,
    request: PipelineRequest,
    max_resubmissions: int = 0,
    suspend: SuspendWish = "never",
    labels: Mapping[str, str] = _NO_LABELS,
) -> RunOutcome:
    """Run a job and return how it ended.

    A job that failed because of its machine is submitted again under the next name, and reuses the steps that were
    finished. The names are the request's own with a number, so that a second start finds every job that was submitted
    before; it passes over those that were canceled. While a job runs, the flow run may be suspended. When it is
    resumed, it goes on with the job that it was suspended for, whether that is over or not. The flow run gets
    ``labels``, and those of its job.

    Raises:
        StepFailed: A step failed, or machines failed more than ``max_resubmissions`` times.
        RunCanceled: Someone canceled the job while it was waited for.
        SettingsError: The flow run is always to be suspended, and cannot be.
    """
    suspends = await may_suspend(engine, suspend)
    before = await suspended_before()
    attempt, resubmissions = 0, 0
    if before is not None:
        attempt, resubmissions = attempt_number(request.job_name, before.job_name), before.resubmissions
    while True:
        submission = await engine.submit(replace(request, job_name=attempt_name(request.job_name, attempt)))
        attempt += 1
        if submission.canceled and (before is None or submission.job_name != before.job_name):
            continue
        await _label_flow_run(submission, labels)
        if suspends and not submission.canceled:
            await suspend_until_over(engine, submission, resubmissions)
        outcome = await engine.wait(submission)
        if not engine.failed_by_machine(outcome) or resubmissions == max_resubmissions:
            return outcome.raise_for_status()
        resubmissions += 1
        said = f"resubmission {resubmissions} of at most {max_resubmissions}"
        get_run_logger().warning("job %s | its machine failed: %s", outcome.job_name, said)


async def _label_flow_run(submission: Submission, more: Mapping[str, str]) -> None:
    """Label the flow run with its job and data, which messages about a failed run show, and with ``more``."""
    tags = submission.request.tags
    labels = {**more, JOB: submission.job_name, DATA: tags.get(DATA), STUDIO_URL: submission.url}
    async with get_client() as client:
        await client.update_flow_run_labels(
            UUID(str(flow_run.id)), {name: value for name, value in labels.items() if value is not None}
        )
