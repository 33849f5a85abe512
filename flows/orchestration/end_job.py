"""What Prefect calls when a flow run is canceled or has crashed: it leaves no job behind that nobody waits for.

A hook runs in the flow's own process if that still can; else in the process that served it, or in one that its worker
starts. So it finds the job by what Prefect's API tells of the flow run.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import FlowStateHook
from prefect.logging.loggers import flow_run_logger

from flows.engines.choice import chosen_engine
from flows.engines.polling import TERMINAL
from flows.engines.runs import attempt_name
from flows.errors import TandemError
from flows.settings import Settings
from flows.tags import FLOW_RUN

if TYPE_CHECKING:
    from flows.engines.azureml.sdk.jobs import Jobs


JobNameOf = Callable[[Mapping[str, Any], Settings, str], str]
"""The name of the first job of a flow run: from its parameters, the settings and its id."""


def end_job(job_name_of: JobNameOf) -> FlowStateHook[..., Any]:
    """Make the hook of a flow, which names its jobs by ``job_name_of``.

    The hook cancels the Azure ML job of a flow run that is over, and waits until the job is over too. It never raises.
    """

    async def end_job_of_flow_run(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
        logger = flow_run_logger(flow_run, flow)
        try:
            settings = Settings.from_environment()
            if chosen_engine(flow_run.parameters.get("engine", "auto"), settings).name == "azureml":
                name = known_job_name(job_name_of, flow_run.parameters, settings, str(flow_run.id))
                await _end_jobs(name, flow_run, settings, logger.warning)
        except Exception as error:
            what = str(error) if isinstance(error, TandemError) else repr(error)
            logger.error(
                "The job of this flow run could not be canceled: %s\n`tandem reap` tells if it is running.", what
            )

    return end_job_of_flow_run


async def _end_jobs(name: str | None, flow_run: FlowRun, settings: Settings, say: Callable[[str], object]) -> None:
    from flows.engines.azureml.sdk.retries import persistently
    from flows.engines.azureml.sdk.workspace import open_workspace
    from flows.engines.azureml.stopping import LONG_SECONDS, stop_job

    async with open_workspace(settings) as workspace:
        if name is not None and await _end_attempts(workspace.jobs, name, say):
            return
        for job in await persistently(lambda: workspace.jobs.tagged(FLOW_RUN)):
            if job.tags[FLOW_RUN] == str(flow_run.id) and job.status not in TERMINAL:
                await stop_job(workspace.jobs, job.name, LONG_SECONDS, say)


async def _end_attempts(jobs: "Jobs", name: str, say: Callable[[str], object]) -> bool:
    """End the job of a name, and those that it was submitted again as; whether there was any."""
    from flows.engines.azureml.stopping import LONG_SECONDS, stop_job

    for number in itertools.count():
        status = await stop_job(jobs, attempt_name(name, number), LONG_SECONDS, say)
        if status is None:
            return number > 0
        if status not in TERMINAL:
            return True
    raise AssertionError("unreachable")


def known_job_name(
    job_name_of: JobNameOf, parameters: Mapping[str, Any], settings: Settings, flow_run_id: str
) -> str | None:
    """The name of the first job of a flow run; None if it cannot be told any more."""
    try:
        return job_name_of(parameters, settings, flow_run_id)
    except (TandemError, ValueError, OSError):  # the YAML has changed or is not on this machine
        return None
