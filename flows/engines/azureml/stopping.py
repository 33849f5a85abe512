"""Cancel a job and wait until it has ended."""

import asyncio
import itertools
import time
from collections.abc import Callable

from flows.engines.azureml.sdk.jobs import Jobs
from flows.engines.azureml.sdk.retries import persistently
from flows.engines.polling import TERMINAL
from flows.engines.runs import attempt_name
from flows.errors import ServiceError, SettingsError, UserError
from flows.tags import FLOW_RUN

LONG_SECONDS = 900.0  # a cluster may take minutes to let go of a job
FIRST_SECONDS = 0.5
LONGEST_SECONDS = 5.0
GROWTH = 1.2


async def stop_job(jobs: Jobs, name: str, seconds: float, say: Callable[[str], object]) -> str | None:
    """Cancel a job unless it is over, and wait until it is over. CancelRequested does not count as over.

    Passing errors of the service are retried. For a job that is over already, ``say`` is not called.

    Args:
        jobs: The jobs of the workspace.
        name: The job's name.
        seconds: How long to wait at most.
        say: Takes one line for each thing that happens.

    Returns:
        The status that was seen last, which tells whether it is over (``Unknown`` if none could be seen); None if there
        is no such job.

    Raises:
        UserError: The service refuses to show or to cancel it.
    """
    end, pause, status, asked, refused = time.monotonic() + seconds, FIRST_SECONDS, "Unknown", False, False
    while True:
        try:
            job = await jobs.find(name)
            if job is None:
                return None
            status = job.status
            if status in TERMINAL:
                if asked:
                    say(f"job {name} | over: {status}")
                return status
            if not asked:
                say(f"job {name} | {status}, canceling")
                await jobs.cancel(name)
                asked = True
        except ServiceError:
            pass  # asked again until the time is over
        except UserError as error:
            if refused or isinstance(error, SettingsError):
                raise
            refused = True  # it may have ended at this moment: seen at the next look
        if time.monotonic() + pause > end:
            say(f"job {name} | {status} after {seconds:.0f} s: it may still be running. `tandem reap` cancels it.")
            return status
        await asyncio.sleep(pause)
        pause = min(pause * GROWTH, LONGEST_SECONDS)


async def end_jobs(jobs: Jobs, name: str | None, flow_run_id: str, say: Callable[[str], object]) -> None:
    """Cancel the jobs of a flow run that is over: those of a name, or else those that carry the flow run's tag."""
    if name is not None and await _end_attempts(jobs, name, say):
        return
    for job in await persistently(lambda: jobs.tagged(FLOW_RUN)):
        if job.tags[FLOW_RUN] == flow_run_id and job.status not in TERMINAL:
            await stop_job(jobs, job.name, LONG_SECONDS, say)


async def _end_attempts(jobs: Jobs, name: str, say: Callable[[str], object]) -> bool:
    """End the job of a name, and those that it was submitted again as; whether there was any."""
    for number in itertools.count():
        status = await stop_job(jobs, attempt_name(name, number), LONG_SECONDS, say)
        if status is None:
            return number > 0
        if status not in TERMINAL:
            return True
    raise AssertionError("unreachable")
