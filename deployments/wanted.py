"""Read ``prefect.yaml`` and ``automations.yaml`` into Prefect's own objects, and refuse what is wrong in them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from prefect.client.schemas.schedules import SCHEDULE_TYPES, construct_schedule
from prefect.deployments.steps.core import StepExecutionError, run_steps
from prefect.events import DeploymentTriggerTypes
from prefect.events.schemas.automations import AutomationCore
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.utilities.templating import apply_values
from pydantic import BaseModel, TypeAdapter, ValidationError

from deployments.ours import ENTRYPOINT, TAG
from flows.errors import SettingsError
from flows.prefect_api.messages import OURS
from flows.training.parameters import group_of

SEND = "send-notification"
_WHAT = {"name", "entrypoint", "description", "version", "tags", "parameters", "work_pool", "pull"}
_WHEN = {"concurrency_limit", "schedules", "triggers"}
_SCHEDULE_KEYS = {"slug", "cron", "interval", "rrule", "timezone", "anchor_date", "parameters", "active"}
_TRIGGERS: TypeAdapter[Any] = TypeAdapter(DeploymentTriggerTypes)


@dataclass(frozen=True, slots=True)
class WantedSchedule:
    """When to run, and with what parameters; ``active``: whether it is on when it is made."""

    schedule: SCHEDULE_TYPES
    parameters: Mapping[str, Any]
    active: bool = True


@dataclass(frozen=True, slots=True)
class WantedDeployment:
    """One deployment. ``fields`` are those of Prefect's API, ``schedules`` by slug; ``triggers``: events start it."""

    flow: str
    name: str
    fields: Mapping[str, Any]
    schedules: Mapping[str, WantedSchedule] = field(default_factory=dict[str, WantedSchedule])
    triggers: tuple[Any, ...] = ()

    @property
    def full_name(self) -> str:
        """As Prefect's commands take it: ``flow/name``."""
        return f"{self.flow}/{self.name}"

    def automations(self, deployment_id: UUID) -> list[AutomationCore]:
        """The automations of its triggers, which Prefect deletes with the deployment."""
        for trigger in self.triggers:
            trigger.set_deployment_id(deployment_id)
        return [trigger.as_automation().model_copy(update={"tags": [TAG]}) for trigger in self.triggers]


async def wanted_deployments(file: Path) -> list[WantedDeployment]:
    """Read ``prefect.yaml`` as ``prefect deploy`` does, and refuse what `prefect deploy` would ignore.

    Call from the folder of the file, where its build steps run.

    Raises:
        SettingsError: It is not what it should be, or a flow cannot be loaded; names the deployment.
    """
    document = _document(file)
    try:
        values = await run_steps(document.get("build") or [], print_function=_say_nothing)
    except StepExecutionError as error:
        raise SettingsError(f"{file.name}: {error}: {error.__cause__}. Nothing was changed.") from error
    configs: list[dict[str, Any]] = document.get("deployments") or []
    return [_deployment(file, _filled_in(config, values), document) for config in configs]


def wanted_notifications(file: Path, block_document_id: UUID) -> list[AutomationCore]:
    """Read ``automations.yaml``; whatever an automation sends goes through this block.

    Raises:
        SettingsError: It is not what it should be; names the automation.
    """
    wanted: list[AutomationCore] = []
    configs: list[dict[str, Any]] = _document(file).get("automations") or []
    for config in configs:
        try:
            actions = [_through(block_document_id, action) for action in config["actions"]]
            wanted.append(AutomationCore.model_validate({**config, "actions": actions, "tags": [TAG]}))
        except (KeyError, ValidationError) as error:
            raise SettingsError(f"{file.name}: automation {config.get('name')!r}: {error!r}") from None
        _check_name(file, wanted[-1].name)
    return wanted


def _check_name(file: Path, name: str | None) -> None:
    if not (name or "").startswith(OURS):
        raise SettingsError(
            f"{file.name}: automation {name!r}: `make undeploy` finds an automation by its name, which must "
            f"begin with {OURS!r}. Nothing was changed."
        )


def _through(block_document_id: UUID, action: dict[str, Any]) -> dict[str, Any]:
    return action | {"block_document_id": str(block_document_id)} if action.get("type") == SEND else action


def _say_nothing(*_: object, **__: object) -> None:
    """Ignore what a build step prints."""


def _filled_in(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in what the build steps said. The templates of triggers are for the event, which is not known yet."""
    triggers = config.get("triggers") or []
    rest = {key: value for key, value in config.items() if key != "triggers"}
    return {**apply_values(rest, dict(values)), "triggers": triggers}


def _deployment(file: Path, config: Mapping[str, Any], document: Mapping[str, Any]) -> WantedDeployment:
    where = f"{file.name}: deployment {config.get('name')!r} of {config.get('entrypoint')}"
    if unknown := config.keys() - _WHAT - _WHEN:
        raise SettingsError(f"{where}: `make deploy` does not know {', '.join(sorted(unknown))}. Nothing was changed.")
    try:
        flow = load_flow_from_entrypoint(config["entrypoint"], use_placeholder_flow=False)
        triggers = tuple(_TRIGGERS.validate_python(trigger) for trigger in config["triggers"])
        schedules = {item["slug"]: _schedule(where, item) for item in config.get("schedules") or []}
    except (KeyError, OSError, ImportError, ValueError, AttributeError, SyntaxError) as error:
        raise SettingsError(f"{where}: {type(error).__name__}: {error}. Nothing was changed.") from error
    for trigger in triggers:
        _check_name(file, trigger.name)
    if TAG not in (config.get("tags") or []) or not config["entrypoint"].startswith(ENTRYPOINT):
        raise SettingsError(
            f"{where}: `make undeploy` finds a deployment by the tag {TAG} and an entrypoint that begins with "
            f"{ENTRYPOINT}: give it both. Nothing was changed."
        )
    pool, limit = config.get("work_pool") or {}, config.get("concurrency_limit")
    fields: dict[str, Any] = {
        "entrypoint": config["entrypoint"],
        "description": config.get("description") or flow.description,
        "version": config.get("version") or flow.version,
        "tags": config.get("tags") or [],
        "parameters": config.get("parameters") or {},
        # Otherwise the server would accept a parameter that does not exist, and the flow run would fail by it.
        "parameter_openapi_schema": {**_form(flow), "additionalProperties": False},
        "enforce_parameter_schema": True,
        "work_pool_name": pool.get("name"),
        "job_variables": pool.get("job_variables") or {},
        "pull_steps": config.get("pull", document.get("pull")) or [],
        "concurrency_limit": limit.get("limit") if isinstance(limit, Mapping) else limit,
        "concurrency_options": {key: value for key, value in limit.items() if key != "limit"}
        if isinstance(limit, Mapping)
        else None,
    }
    return WantedDeployment(flow.name, config["name"], fields, schedules, triggers)


def _form(flow: Any) -> dict[str, Any]:
    """The schema of a flow's parameters, each with its group in its title: Prefect's form shows one column of titles.

    Nested models would be shown as groups, but a parameter would then have another name in the API and for
    ``prefect deployment run``.
    """
    schema = parameter_schema(flow).model_dump(exclude_unset=True)
    model: type[BaseModel] | None = getattr(flow.fn, "parameters_model", None)
    for name, parameter in ({} if model is None else model.model_fields).items():
        if group := group_of(parameter):
            schema["properties"][name]["title"] = f"{group}: {name}"
    return schema


def _schedule(where: str, config: Mapping[str, Any]) -> WantedSchedule:
    if unknown := config.keys() - _SCHEDULE_KEYS:
        raise SettingsError(f"{where}: a schedule has no {', '.join(sorted(unknown))}. Nothing was changed.")
    when = {key: value for key, value in config.items() if key not in ("slug", "parameters", "active")}
    return WantedSchedule(construct_schedule(**when), config.get("parameters") or {}, config.get("active", True))


def _document(file: Path) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"{file.name} cannot be read: {error}. Nothing was changed.") from error
    if not isinstance(document, Mapping):
        raise SettingsError(f"{file.name} is not a mapping. Nothing was changed.")
    return document
