"""Prefect hooks that end the job of a flow run which was canceled or has crashed, so that no job is left behind.

A hook runs in the process of the flow run, if that process still can run it; else in the process that served the flow,
or in a new one that the worker starts. So it finds the job by what Prefect's API tells of the flow run.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import FlowStateHook
from prefect.logging.loggers import flow_run_logger

from flows.engines.open_engine import chosen_engine
from flows.errors import TandemError
from flows.settings import Settings

JobNameOf = Callable[[Mapping[str, Any], Settings, str], str]
"""The name of the first job of a flow run: from its parameters, the settings and its id."""


def end_job(job_name_of: JobNameOf) -> FlowStateHook[..., Any]:
    """Make the hook of a flow, which names its jobs by ``job_name_of``.

    The hook cancels the job of a flow run that is over, where the job outlives its process, and waits until the job is
    over too. It never raises.
    """

    async def end_job_of_flow_run(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
        logger = flow_run_logger(flow_run, flow)
        try:
            settings = Settings.from_environment()
            kind = chosen_engine(flow_run.parameters.get("engine", "auto"), settings).kind
            run_id = str(flow_run.id)
            name = partial(known_job_name, job_name_of, flow_run.parameters, settings, run_id)
            await kind.end_jobs(settings, name, run_id, logger.warning)
        except Exception as error:
            what = str(error) if isinstance(error, TandemError) else repr(error)
            logger.error(
                "The job of this flow run could not be canceled: %s\n`tandem reap` says whether it is running.", what
            )

    return end_job_of_flow_run


def known_job_name(
    job_name_of: JobNameOf, parameters: Mapping[str, Any], settings: Settings, flow_run_id: str
) -> str | None:
    """The name of the first job of a flow run; None if it cannot be told any more."""
    try:
        return job_name_of(parameters, settings, flow_run_id)
    except (TandemError, ValueError, OSError):  # the YAML has changed or is not on this machine
        return None
