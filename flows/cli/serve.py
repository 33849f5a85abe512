"""``tandem serve``: a registered model answers requests on this machine, until Ctrl+C."""

import asyncio
import json
import re
import shlex
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from flows.data.digests import data_digest
from flows.engines.local.registered_models import registered_model
from flows.errors import DataAssetError, ParameterError, ServiceError, ServingError, SettingsError
from flows.machine.living import as_typed, record_process, this_process
from flows.mlflow_store.places import mlflow_place
from flows.serving.endpoints import DeploymentRequest, ServedModel, ServingState
from flows.serving.local import files, pages
from flows.serving.local.adapter import LocalServing
from flows.serving.local.lifetime import supervisor_pid
from flows.serving.wanted_model import champion_remedy
from flows.settings import TRAINED_MODEL, Settings, training_command
from flows.spec.model.asset_reference import AssetReference
from flows.spec.model.endpoint import EndpointSpec
from flows.spec.reading.endpoints import read_online_deployment

CHAMPION = "champion"
DEPLOYMENT_NAME = "blue"
_LOOK_SECONDS = 0.5
_EXAMPLES = {"string": "text", "boolean": True, "datetime": "2026-01-31"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be served, and how.

    Attributes:
        model: ``name``, ``name:version`` or ``name@alias``; the champion where neither is given.
        file: The definition of the deployment; the project's own where it is None.
        name: Of the endpoint; made of the model's where it is None.
        port: Of the router; None for the one that was used before.
    """

    model: str
    file: str | None = None
    name: str | None = None
    port: int | None = None


def serve_model(asked: Asked) -> int:
    """Serve a model until Ctrl+C.

    Raises:
        DataAssetError: There is no such model.
        ParameterError: The reference, the name or the port is wrong.
        ServiceError: The port is taken.
        ServingError: The model cannot answer; or an endpoint of this name is there already.
        SettingsError: There is no definition of a deployment.
        SpecError: The definition is wrong.
    """
    settings = Settings.from_environment()
    file = Path(asked.file) if asked.file else settings.project / "serving" / "deployment.yml"
    if not file.is_file():
        raise SettingsError(f"There is no definition of a deployment: {file} is missing. Name one: --deployment FILE.")
    spec = read_online_deployment(file)
    reference = _reference(asked.model)
    name = asked.name or _endpoint_name(reference.name)
    _take_port(settings.home / "serving", asked.port)
    found = registered_model(str(reference), settings)
    if found is None:
        raise DataAssetError(
            f"There is no model {reference} in {mlflow_place(settings).registry}. Nothing was started. "
            f"{_remedy(reference)}"
        )
    served = ServedModel(reference.name, found.version, data_digest(found.folder))
    request = DeploymentRequest(name, DEPLOYMENT_NAME, spec, served, str(found.folder))
    signal.signal(signal.SIGTERM, _interrupt)
    entry = record_process(settings.home, as_typed())
    serving = LocalServing(settings.home, owner=this_process())
    try:
        asyncio.run(_serve(serving, EndpointSpec(name, file.absolute()), request))
    except KeyboardInterrupt:
        pass
    finally:
        asyncio.run(serving.delete_own())
        entry.end()
    return 0


def _remedy(reference: AssetReference) -> str:
    """What to type where there is no such model: the training is that of the project's own model only."""
    if reference.name == TRAINED_MODEL:
        return f"Train one: {training_command()}"
    if reference.version is None:
        return champion_remedy(reference.name)
    return f"See which versions of {reference.name} there are: tandem ui"


async def _serve(serving: LocalServing, spec: EndpointSpec, request: DeploymentRequest) -> None:
    there = await serving.endpoint(spec.name)
    if there is not None:
        raise ServingError(
            f"There is an endpoint {spec.name} on this machine already, at {there.scoring_uri}. Nothing was started. "
            f"Choose another name: --name NAME, or delete that one: tandem endpoints delete {spec.name}"
        )
    await serving.create_endpoint(spec)
    await serving.deploy(request)
    await serving.set_traffic(spec.name, {DEPLOYMENT_NAME: 100})
    made = await serving.endpoint(spec.name)
    address = (made.scoring_uri if made else None) or ""
    print(how_to_call(request.model, spec.name, address, Path(request.source)), flush=True)
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        now = await serving.endpoint(spec.name)
        running = None if now is None else now.deployment(DEPLOYMENT_NAME)
        if running is None:
            raise ServingError(f"The endpoint {spec.name} was deleted. Nothing is served any more.")
        if running.state is ServingState.FAILED:
            logs = await serving.logs(spec.name, DEPLOYMENT_NAME, 20)
            raise ServingError(f"{request.model.label} has failed, and is served no more:\n" + "\n".join(logs.values()))


def how_to_call(served: ServedModel, name: str, address: str, folder: Path) -> str:
    """Where a model answers, and what to type to try it. The row in it is made up."""
    row = {column["name"]: _EXAMPLES.get(str(column.get("type")), 1) for column in pages.columns_of(folder)}
    body = shlex.quote(json.dumps({"input_data": [row]}))
    root = address.partition("/endpoints/")[0]
    return (
        f"  {served.label} answers at {address}\n  All endpoints, OpenAPI and metrics: {root}/\n\n  Try it:\n"
        f"  curl {address} \\\n    -H 'Content-Type: application/json' \\\n"
        f'    -H "Authorization: Bearer $(tandem endpoints key {name})" \\\n    -d {body}\n\n  Ctrl+C ends it.'
    )


def _reference(text: str) -> AssetReference:
    found = AssetReference.short(text)
    if found is None or (found.version is not None and not found.version.isdecimal()):
        raise ParameterError(f"{text!r} is no model. Write NAME, NAME:VERSION or NAME@ALIAS. Nothing was started.")
    return found if found.version or found.label else AssetReference(found.name, label=CHAMPION)


def _endpoint_name(model: str) -> str:
    """A name for the endpoint of a model: 3 to 32 letters, digits and hyphens, beginning with a letter."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", model).strip("-")[:32].rstrip("-")
    return name if len(name) >= 3 and name[0].isalpha() else f"model-{name}"[:32].rstrip("-")


def _take_port(root: Path, port: int | None) -> None:
    """See that the endpoints listen on a port, or will."""
    if port is None:
        return
    if supervisor_pid(root) is not None:
        if (now := files.read_port(root)) != port:
            raise ParameterError(
                f"The endpoints of this machine listen on port {now} already. Nothing was started. Leave --port out, "
                "or delete them first: tandem endpoints"
            )
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ServiceError(
                f"Port {port} is taken. Stop what listens on it, or choose another: --port PORT."
            ) from None
    root.mkdir(parents=True, exist_ok=True)
    files.write_port(root, port)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
