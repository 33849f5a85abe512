"""Serving on this machine: fulfils :class:`flows.serving.serving.Serving` by files and a supervisor.

What is asked for is written down; the supervisor does it, and this waits until it says so.
"""

import asyncio
import http.client
import json
import os
import secrets
import time
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from flows.data.atomic import atomic_write
from flows.data.digests import data_digest, text_digest
from flows.data.snapshot import Snapshot
from flows.errors import ServingError
from flows.machine.folder import make_state_folder
from flows.machine.own_folders import copy_by_links
from flows.serving.endpoints import Answer, Deployment, DeploymentRequest, Endpoint, ServingState, answer_of
from flows.serving.local import files
from flows.serving.local.lifetime import ensure_supervisor, supervisor_pid, wait_for_supervisor
from flows.serving.rules import check_instances, check_name, checked_shares
from flows.spec.model.endpoint import (
    WHOLE_BODIES,
    DataCollector,
    EndpointSpec,
    OnlineDeploymentSpec,
    is_endpoint_name,
)
from flows.spec.text.locations import is_remote

LOOK_SECONDS = 0.05
CONTAINER = "inference-server"  # Azure ML's name for what runs the script
_LOCAL_TIMEOUT_SECONDS = 300.0  # no request of an endpoint takes longer
_BLOCK_BYTES = 1 << 16


class LocalServing:
    """Endpoints of the local state."""

    name = "local"

    def __init__(self, home: Path, owner: tuple[int, int] | None = None) -> None:
        """Take the endpoints of a local state.

        Args:
            home: The folder of the state.
            owner: A process and when it began, with which the endpoints that are created here end.
        """
        self._home = home
        self._root = home / "serving"
        self._owner = owner

    async def endpoint(self, name: str) -> Endpoint | None:
        """See :meth:`Serving.endpoint`. Where nobody looks after the endpoints, that is started again."""
        found = self._find(name)
        return None if found is None else self._told(found, await self._port())

    async def endpoints(self) -> Sequence[Endpoint]:
        """See :meth:`Serving.endpoints`."""
        folders = files.folders_with(self._root, files.ENDPOINT)
        found = [stored for folder in folders if (stored := files.read_endpoint_file(folder)) is not None]
        if not found:
            return ()
        port = await self._port()
        return tuple(self._told(stored, port) for stored in found)

    async def check_quota(self, spec: OnlineDeploymentSpec, deployments: int) -> None:
        """See :meth:`Serving.check_quota`. This machine has none."""

    async def model_folder(self, source: str, folder: Path) -> Path:
        """See :meth:`Serving.model_folder`. Models of this machine stay where they are."""
        found = Path(source.removeprefix("file://"))
        if not found.is_dir():
            raise ServingError(f"There are no files of the model at {source}. Nothing was deployed.")
        return found

    async def create_endpoint(self, spec: EndpointSpec) -> Endpoint:
        """See :meth:`Serving.create_endpoint`. Whatever the file says, it is the key that a request needs here."""
        check_name(spec.name, "endpoint")
        folder = files.endpoint_folder(self._root, spec.name)
        make_state_folder(self._home)
        self._root.mkdir(exist_ok=True)
        with files.changing(self._root):
            if not (folder / files.ENDPOINT).exists():
                folder.mkdir(exist_ok=True)
                _write_key(folder / files.KEY)
                stored = files.StoredEndpoint(
                    spec.name, time.time(), spec.description, dict(spec.tags), owner=self._owner
                )
                files.write_value(folder / files.ENDPOINT, stored)
        found = await self.endpoint(spec.name)
        if found is None:
            raise ServingError(f"The endpoint {spec.name} was deleted while it was made. Type the same command again.")
        return found

    async def deploy(self, request: DeploymentRequest) -> None:
        """See :meth:`Serving.deploy`. What has the same content and has not failed runs on, with the new tags."""
        check_name(request.name, "deployment")
        self._stored(request.endpoint)
        spec, folder = request.spec, files.deployment_folder(self._root, request.endpoint, request.name)
        if spec.code is None or spec.scoring_script is None:
            raise ServingError(
                f"The deployment {request.name} of {spec.source} has no script, which it needs on this machine. "
                "Nothing was deployed. Add code_configuration: with code: and scoring_script:."
            )
        source = Path(request.source.removeprefix("file://"))
        if is_remote(request.source) or not source.is_dir():
            raise ServingError(
                f"The model {request.model.label} is not in a folder of this machine: {request.source}. Nothing was "
                "deployed."
            )
        code = await asyncio.to_thread(Snapshot.of, spec.code)
        content = text_digest(
            "\n".join((code.digest(), request.model.digest or data_digest(source), repr(_content(request))))
        )
        with self._changing(request.endpoint):
            there = files.read_deployment_file(folder)
            state = None if there is None else files.status_of(there, files.read_status(folder)).state
            if there is None or there.content != content or state is ServingState.FAILED:
                wanted = _wanted(request, uuid.uuid4().hex[:8], content)
                place = folder / wanted.generation
                code.copy_to(place / "code")
                (place / wanted.model_folder).mkdir(parents=True)
                copy_by_links(source, place / wanted.model_folder / source.name)
                if wanted.collector:
                    atomic_write(place / files.COLLECTOR, json.dumps(wanted.collector), 0o600)
                files.write_value(folder / files.DEPLOYMENT, wanted)
            elif there.tags != (tags := _tags(request)):
                files.write_value(folder / files.DEPLOYMENT, replace(there, tags=tags))
        await self._until_ready(request.endpoint, request.name)

    async def score(self, endpoint: str, body: bytes, deployment: str | None = None) -> Answer:
        """See :meth:`Serving.score`."""
        found, key = await self._found(endpoint), await self.key(endpoint)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        if deployment is not None:
            headers["azureml-model-deployment"] = deployment
        return await asyncio.to_thread(_post, found.scoring_uri or "", headers, body)

    async def set_traffic(
        self, endpoint: str, shares: Mapping[str, int], mirror: Mapping[str, int] | None = None
    ) -> None:
        """See :meth:`Serving.set_traffic`. It holds from the next request on."""
        with self._changing(endpoint) as stored:
            folder = files.endpoint_folder(self._root, endpoint)
            there = {wanted.name for wanted, _ in files.deployments_of(folder)}
            live, copies = checked_shares(endpoint, shares, mirror or {}, there)
            files.write_value(folder / files.ENDPOINT, replace(stored, traffic=live, mirror=copies))

    async def tag(self, endpoint: str, tags: Mapping[str, str | None]) -> None:
        """See :meth:`Serving.tag`."""
        with self._changing(endpoint) as stored:
            kept = {name: value for name, value in {**stored.tags, **tags}.items() if value is not None}
            place = files.endpoint_folder(self._root, endpoint) / files.ENDPOINT
            files.write_value(place, replace(stored, tags=kept))

    async def logs(self, endpoint: str, deployment: str, lines: int = 200) -> Mapping[str, str]:
        """See :meth:`Serving.logs`. There is one container, whose instances follow each other."""
        folder, _ = self._deployment(endpoint, deployment)
        logs = sorted(folder.glob("instance-*.log"))
        parts = [f"{log.stem}:\n{_tail(log, lines)}" if len(logs) > 1 else _tail(log, lines) for log in logs]
        return {CONTAINER: "\n".join(parts)}

    async def collected(self, endpoint: str, folder: Path) -> Path:
        """See :meth:`Serving.collected`. It stays where it is, and is all that is kept."""
        self._stored(endpoint)
        return files.endpoint_folder(self._root, endpoint) / files.COLLECTED

    async def scale(self, endpoint: str, deployment: str, instances: int) -> None:
        """See :meth:`Serving.scale`."""
        check_instances(f"The deployment {deployment}", instances)
        with self._changing(endpoint):
            folder, wanted = self._deployment(endpoint, deployment)
            if wanted.instances != instances:
                files.write_value(folder / files.DEPLOYMENT, replace(wanted, instances=instances))
        await self._until_ready(endpoint, deployment)

    async def delete_deployment(self, endpoint: str, deployment: str) -> None:
        """See :meth:`Serving.delete_deployment`. The requests that it has begun are answered."""
        if not is_endpoint_name(endpoint) or not is_endpoint_name(deployment):
            return
        folder = files.deployment_folder(self._root, endpoint, deployment)
        if not folder.exists():
            return
        with files.changing(self._root):
            stored = files.read_endpoint_file(files.endpoint_folder(self._root, endpoint))
            share = 0 if stored is None else stored.traffic.get(deployment, 0) or stored.mirror.get(deployment, 0)
            if share and (folder / files.DEPLOYMENT).exists():
                raise ServingError(
                    f"The deployment {deployment} of the endpoint {endpoint} has {share} % of the requests, so it was "
                    "not deleted. Give its share to another one first."
                )
            (folder / files.DEPLOYMENT).unlink(missing_ok=True)
        await self._until_gone(folder)

    async def delete_endpoint(self, name: str) -> None:
        """See :meth:`Serving.delete_endpoint`."""
        if not is_endpoint_name(name):
            return
        folder = files.endpoint_folder(self._root, name)
        if not folder.exists():
            return
        with files.changing(self._root):
            (folder / files.ENDPOINT).unlink(missing_ok=True)
        await self._until_gone(folder)

    async def delete_own(self) -> None:
        """Delete the endpoints that end with the owner, as the supervisor does when that is gone."""
        for folder in files.folders_with(self._root, files.ENDPOINT):
            found = files.read_endpoint_file(folder)
            if found is not None and found.owner is not None and found.owner == self._owner:
                await self.delete_endpoint(found.name)

    async def key(self, endpoint: str) -> str:
        """See :meth:`Serving.key`."""
        self._stored(endpoint)
        return (files.endpoint_folder(self._root, endpoint) / files.KEY).read_text(encoding="ascii").strip()

    async def _port(self) -> int:
        port = files.read_port(self._root)
        if port is not None and supervisor_pid(self._root):
            return port
        return await asyncio.to_thread(wait_for_supervisor, self._home)

    async def _found(self, name: str) -> Endpoint:
        found = await self.endpoint(name)
        if found is None:
            raise _no_endpoint(name)
        return found

    @contextmanager
    def _changing(self, endpoint: str) -> Generator[files.StoredEndpoint]:
        """Change an endpoint that is there, while nobody else does."""
        self._stored(endpoint)
        with files.changing(self._root):
            yield self._stored(endpoint)

    def _stored(self, name: str) -> files.StoredEndpoint:
        found = self._find(name)
        if found is None:
            raise _no_endpoint(name)
        return found

    def _find(self, name: str) -> files.StoredEndpoint | None:
        return files.read_endpoint_file(files.endpoint_folder(self._root, name)) if is_endpoint_name(name) else None

    def _deployment(self, endpoint: str, deployment: str) -> tuple[Path, files.StoredDeployment]:
        self._stored(endpoint)
        folder = self._root / endpoint / deployment
        found = files.read_deployment_file(folder) if is_endpoint_name(deployment) else None
        if found is None:
            raise ServingError(
                f"The endpoint {endpoint} has no deployment {deployment}. `tandem endpoints` lists what there is."
            )
        return folder, found

    def _told(self, stored: files.StoredEndpoint, port: int) -> Endpoint:
        folder = files.endpoint_folder(self._root, stored.name)
        return Endpoint(
            name=stored.name,
            state=ServingState.SUCCEEDED,
            scoring_uri=f"http://127.0.0.1:{port}/endpoints/{stored.name}/score",
            traffic=MappingProxyType(dict(stored.traffic)),
            mirror=MappingProxyType(dict(stored.mirror)),
            tags=MappingProxyType(dict(stored.tags)),
            deployments=tuple(
                Deployment(
                    name=wanted.name,
                    state=status.state,
                    instances=wanted.instances,
                    instance_type=wanted.instance_type,
                    created=datetime.fromtimestamp(wanted.created, UTC),
                    tags=MappingProxyType(dict(wanted.tags)),
                )
                for wanted, status in files.deployments_of(folder)
            ),
        )

    async def _until_ready(self, endpoint: str, deployment: str) -> None:
        """Wait until a deployment can answer with all its instances.

        Raises:
            ServingError: It has failed, or was deleted meanwhile.
        """
        while True:
            folder, wanted = self._deployment(endpoint, deployment)
            status = files.status_of(wanted, files.read_status(folder))
            if status.state is ServingState.SUCCEEDED:
                return
            if status.state is ServingState.FAILED:
                raise ServingError(
                    f"The deployment {deployment} of the endpoint {endpoint} has failed: {status.reason}"
                )
            ensure_supervisor(self._home)
            await asyncio.sleep(LOOK_SECONDS)

    async def _until_gone(self, folder: Path) -> None:
        while folder.exists():
            ensure_supervisor(self._home)
            await asyncio.sleep(LOOK_SECONDS)


def _wanted(request: DeploymentRequest, generation: str, content: str) -> files.StoredDeployment:
    spec, model = request.spec, request.model
    ready = spec.readiness
    return files.StoredDeployment(
        name=request.name,
        generation=generation,
        content=content,
        created=time.time() if generation else 0.0,
        instances=spec.instances,
        instance_type=spec.instance_type,
        script=spec.scoring_script or "",
        model_folder=f"azureml-models/{model.name}/{model.version}",
        variables={
            **spec.environment_variables,
            "TANDEM_MODEL": model.name,
            "TANDEM_MODEL_VERSION": str(model.version),
        },
        timeout_seconds=spec.requests.timeout_seconds,
        concurrency=spec.requests.concurrent_requests_per_instance,
        start_seconds=ready.initial_delay_seconds + ready.period_seconds * ready.failures,
        tags=_tags(request),
        collector=_collected(spec.data_collector),
    )


def _tags(request: DeploymentRequest) -> dict[str, str]:
    return {**request.spec.tags, **request.tags, **request.model.tags()}


def _content(request: DeploymentRequest) -> files.StoredDeployment:
    """What makes a deployment another one, beside its files: all but its tags."""
    return replace(_wanted(request, "", ""), tags={})


def _collected(collector: DataCollector | None) -> dict[str, Any]:
    """What is kept of the requests, in the form of Azure ML's package. Whole bodies are not kept on this machine."""
    own = [each.name for each in collector.collections if each.name not in WHOLE_BODIES] if collector else []
    if collector is None or not own:
        return {}
    rate = {"enabled": True, "sampleRatePercentage": 100 * collector.sampling_rate}
    return {"collections": dict.fromkeys(own, rate), "rollingRate": collector.rolling_rate}


def _write_key(file: Path) -> None:
    with open(file, "w", encoding="ascii", opener=lambda path, flags: os.open(path, flags, 0o600)) as stream:
        stream.write(f"{secrets.token_urlsafe(32)}\n")


def _no_endpoint(name: str) -> ServingError:
    return ServingError(f"There is no endpoint {name} on this machine. `tandem endpoints` lists those that there are.")


def _post(address: str, headers: Mapping[str, str], body: bytes) -> Answer:
    parts, began = urlsplit(address), time.perf_counter()
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_LOCAL_TIMEOUT_SECONDS)
    try:
        connection.request("POST", parts.path, body, dict(headers))
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException):
        return Answer(0, b"", time.perf_counter() - began)
    finally:
        connection.close()
    return answer_of(response.status, content, time.perf_counter() - began, response.headers.get)


def _tail(file: Path, lines: int) -> str:
    """The last lines of a file."""
    try:
        with file.open("rb") as stream:
            end = position = stream.seek(0, os.SEEK_END)
            found = b""
            while position and found.count(b"\n") <= lines:
                position = max(0, position - _BLOCK_BYTES)
                stream.seek(position)
                found = stream.read(end - position)
    except OSError:
        return ""
    return "\n".join(found.decode(errors="replace").splitlines()[-lines:])
