"""One run on an engine, from the request to the outcome, with as many jobs as it takes and no more."""

from dataclasses import replace

from prefect import get_run_logger

from flows.engines.engine import Engine
from flows.runs import PipelineRequest, RunOutcome


async def run_to_end(engine: Engine, request: PipelineRequest, max_resubmissions: int = 0) -> RunOutcome:
    """Run a job and return how it ended.

    A job whose machine failed it is submitted again under the next name, and reuses what it has finished. The names
    are counted up from the request's own, so that whoever starts again finds every job that was submitted before; one
    that was canceled meanwhile is left behind for the next.

    Raises:
        StepFailed: A step failed, or machines failed more than ``max_resubmissions`` times.
        RunCanceled: Someone canceled the job while it was waited for.
    """
    attempt, resubmissions = 0, 0
    while True:
        submission = await engine.submit(_attempt(request, attempt))
        attempt += 1
        if submission.canceled:
            continue
        outcome = await engine.wait(submission)
        if not outcome.infrastructure or resubmissions == max_resubmissions:
            return outcome.raise_for_status()
        resubmissions += 1
        said = f"resubmission {resubmissions} of at most {max_resubmissions}"
        get_run_logger().warning("job %s | its machine failed it: %s", outcome.job_name, said)


def _attempt(request: PipelineRequest, number: int) -> PipelineRequest:
    return request if number == 0 else replace(request, job_name=f"{request.job_name}-r{number}")
