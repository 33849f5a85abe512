"""The flow ``deploy-model``: rolls the champion, or another version, out to an endpoint, and back if a check fails."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import deployment, flow_run
from prefect.states import Completed

from flows.data.digests import text_digest
from flows.engines.open_engine import chosen_engine, open_engine
from flows.errors import DataAssetError, SettingsError
from flows.orchestration.events import emit, rollout_ended
from flows.orchestration.failures import failures_as_states
from flows.orchestration.run_names import BY_HAND
from flows.rollout.checks.examine import EndpointExaminer
from flows.rollout.checks.known_rows import KnownRows, known_rows
from flows.rollout.cost import expected_cost
from flows.rollout.owner import is_dead, this_owner
from flows.rollout.parameters import DeployParameters, is_file
from flows.rollout.plan import Checks, Done, Keep, next_action
from flows.rollout.rollout import Rollout, Wanted
from flows.rollout.shown import Shown
from flows.rollout.summary import DeploySummary
from flows.serving.endpoints import Endpoint
from flows.serving.open_serving import open_serving
from flows.serving.wanted_model import find_version, served_model
from flows.settings import Settings
from flows.spec.model.endpoint import EndpointSpec
from flows.spec.reading.endpoints import read_endpoint, read_online_deployment
from flows.training.markdown import plain
from flows.training.parameters import with_parameters


def _named() -> str:
    return f"{flow_run.parameters['model']}, {deployment.name or BY_HAND}"


@flow(name="deploy-model", flow_run_name=_named)
@failures_as_states
@with_parameters(DeployParameters)
async def deploy_model(parameters: DeployParameters) -> State[Any]:
    """Serve a version of a model in place of the one that is served now, step by step, and go back if a check fails.

    Ends as `Deployed`, `Unchanged`, `RolledBack` or `Overtaken`, all completed. Killed and started again, it goes on
    from what the endpoint tells.
    """
    settings = Settings.from_environment()
    by_file = is_file(parameters.endpoint)
    endpoint = read_endpoint(_file(settings, parameters.endpoint, "endpoint")) if by_file else None
    definition = read_online_deployment(_file(settings, parameters.deployment, "deployment"))
    kind = chosen_engine(parameters.engine, settings).kind
    async with open_engine(parameters.engine, settings) as engine, open_serving(kind.name, settings) as serving:
        there = await serving.endpoint(parameters.endpoint if endpoint is None else endpoint.name)
        if endpoint is None:
            endpoint = _defined_as(there, parameters.endpoint, definition.source)
        policy = parameters.policy(dict(endpoint.tags))
        version = await find_version(engine.registry, parameters.model)
        collector = definition.data_collector
        model = replace(served_model(version), collects="" if collector is None else text_digest(repr(collector))[:16])
        known = KnownRows()
        if not isinstance(next_action(there, model, policy, time.time(), Checks()), Done | Keep):
            if there is None or model not in [one.model for one in there.deployments]:
                await serving.check_quota(definition, 1)
            if not kind.runs_here:
                others = 0 if there is None else len(there.deployments)
                get_run_logger().info(expected_cost(definition, policy, others))
            with tempfile.TemporaryDirectory() as place:
                folder = await serving.model_folder(version.source, Path(place))
                known = await known_rows(folder, model.label, definition.environment_variables)
            if not known.rows:
                get_run_logger().warning(
                    "%s has no input example, so whether it answers right is not tested, only that it answers. Log "
                    "it with input_example, and it is.",
                    model.label,
                )
        wanted = Wanted(endpoint, definition, model, version.source, this_owner())
        examiner, show = EndpointExaminer(serving, known), Shown(model)
        result = await Rollout(serving, wanted, policy, examiner, tell=show, gone=is_dead).run()
    summary = DeploySummary(
        model=model,
        engine=kind.name,
        costs=not kind.runs_here,
        endpoint=result.endpoint,
        colour=result.colour,
        changed=result.changed,
        failed=result.failed,
        logs=result.logs or {},
        overtaken=result.overtaken,
    )
    await show.table(summary.endpoint, summary.message)
    await _publish(summary)
    if summary.changed and not summary.overtaken:  # who has overtaken it tells what is served
        await emit(
            rollout_ended(summary.model, summary.endpoint.name, summary.verdict, summary.message, str(flow_run.id))
        )
    return Completed(name=summary.verdict, message=summary.message, data=summary)


async def _publish(summary: DeploySummary) -> None:
    for name, text in summary.logs.items():
        get_run_logger().warning("The last lines of %s:\n%s", name, text)
    await acreate_markdown_artifact(
        f"**{summary.verdict}**: {plain(summary.message)}", key="rollout", description=plain(summary.message)
    )


def _defined_as(there: Endpoint | None, name: str, source: Path) -> EndpointSpec:
    """The definition of an endpoint that is there, as far as a rollout needs it.

    Raises:
        DataAssetError: There is none of that name.
    """
    if there is None:
        raise DataAssetError(f"There is no endpoint {name}. Nothing was changed. See: tandem endpoints")
    return EndpointSpec(there.name, source, there.auth_mode, there.tags)


def _file(settings: Settings, name: str, what: str) -> Path:
    file = settings.project / name
    if not file.is_file():
        raise SettingsError(f"There is no definition of the {what}: {file} is missing. Nothing was changed.")
    return file
