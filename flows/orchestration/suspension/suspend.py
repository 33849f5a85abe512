"""Suspend a flow run while its job runs, so that no process waits.

The process ends, and the flow run stays in Prefect's state Suspended. When the job is over, the flow ``watch-jobs``
resumes it: a worker runs the flow from the top under the same id, so that it finds the job that it has submitted.

The suspension has no time limit in Prefect, because the flow run would fail at that limit while the job goes on. The
limits for waiting and running are the job's. ``watch-jobs`` resumes a flow run when such a limit may have passed; the
resumed run then cancels the job, or suspends itself again.
"""

import time
from dataclasses import dataclass
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.flow_runs import asuspend_flow_run
from prefect.runtime import deployment, flow_run

from flows.engines.engine import Engine
from flows.engines.runs import Submission
from flows.errors import SettingsError
from flows.orchestration.suspension.watchers import Watchers
from flows.tags import JOB, RESUBMISSIONS, WAKE_AT, WATCHED
from flows.training.parameters import SuspendWish

GRACE_SECONDS = 20.0  # a pipeline that reuses every step ends sooner than a new process would start


@dataclass(frozen=True, slots=True)
class Suspended:
    """What a flow run was suspended for: a job, and how often it had been submitted again by then."""

    job_name: str
    resubmissions: int


async def suspended_before() -> Suspended | None:
    """What the current flow run was suspended for last; None if it never was since it was started or retried."""
    if deployment.id is None:
        return None
    async with get_client() as client:
        run = await client.read_flow_run(UUID(str(flow_run.id)))
    if not run.empirical_policy.pause_keys or JOB not in run.labels:
        return None
    return Suspended(str(run.labels[JOB]), int(run.labels.get(RESUBMISSIONS, 0)))


async def may_suspend(engine: Engine, wish: SuspendWish) -> bool:
    """Whether the current flow run is to wait for its job without a process.

    Raises:
        SettingsError: ``wish`` is ``always``, and nothing would resume it.
    """
    if wish == "never" or not engine.outlives_process:
        return False
    if deployment.id is not None:
        async with get_client() as client:
            if await Watchers.deployed(client) is not None:
                return True
    if wish == "always":
        raise SettingsError(
            "A flow run can be suspended if it comes from a deployment and watch-jobs is deployed, which resumes it. "
            "Nothing was submitted. `make deploy` makes both deployments. With --suspend never, the flow run waits."
        )
    return False


async def suspend_until_over(engine: Engine, submission: Submission, resubmissions: int) -> None:
    """Suspend the flow run and end this process, unless the job is over soon. A resumed flow run gets here again."""
    unfinished = await engine.unfinished(submission, GRACE_SECONDS)
    if unfinished is None:
        return
    run_id = UUID(str(flow_run.id))
    labels: dict[str, bool | int | float | str] = {JOB: submission.job_name, RESUBMISSIONS: resubmissions}
    if unfinished.limit_seconds is not None:
        labels[WAKE_AT] = time.time() + unfinished.limit_seconds
    async with get_client() as client:
        # Before it is suspended, so that the watcher finds it as soon as it is.
        await client.update_flow_run_labels(run_id, labels)
        await client.update_flow_run(run_id, tags={*flow_run.tags, WATCHED})
        if (watchers := await Watchers.deployed(client)) is not None:
            await watchers.ensure_one()
        times = len((await client.read_flow_run(run_id)).empirical_policy.pause_keys or ())
    get_run_logger().info("job %s | %s; suspended until it is over", submission.job_name, unfinished.status)
    await asuspend_flow_run(key=f"{submission.job_name} {times}")  # Prefect lets each key suspend once
