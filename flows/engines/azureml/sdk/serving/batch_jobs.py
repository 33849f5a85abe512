"""Jobs of batch endpoints: started once under a name of ours, and found again."""

import json
import uuid
from typing import Any

from flows.engines.azureml.sdk.connection import Connection
from flows.engines.azureml.sdk.jobs import api_address
from flows.engines.azureml.sdk.retries import TRANSIENT, AlreadyThereError, create_once, persistently
from flows.engines.azureml.sdk.serving.scoring import Reply, Scoring
from flows.errors import ServiceError, SettingsError, UserError

LIST_VERSION = "2020-09-01-dataplanepreview"  # that of the SDK


class BatchJobs:
    """Starts and finds jobs of batch endpoints."""

    def __init__(self, connection: Connection, scoring: Scoring) -> None:
        self._connection = connection
        self._scoring = scoring

    async def start(self, endpoint: str, address: str, deployment: str, name: str, data: str, is_folder: bool) -> str:
        """Start a job, unless there is one that was started under this name; returns the name that it has.

        Args:
            endpoint: The name of the batch endpoint.
            address: Its scoring URI.
            deployment: The deployment that runs it.
            name: Ours. Azure ML may take it as the display name only, and name the job itself.
            data: The address of the data.
            is_folder: Whether that is a folder of files, rather than one file.

        Raises:
            UserError: It is refused.
            ServiceError: Azure ML does not answer; whether the job was started is not known.
        """
        kind = "UriFolder" if is_folder else "UriFile"
        given = {"inputData": {kind: {"jobInputType": kind, "uri": data}}, "name": name}
        body = json.dumps({"properties": given}).encode()
        headers = {
            "azureml-model-deployment": deployment,
            "repeatability_request-id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{address}/{name}")),
        }

        async def create() -> str:
            reply = await self._scoring.post(f"{endpoint}/jobs", address, "aad_token", body, headers)
            if reply.status not in (200, 201):
                raise _refusal(endpoint, reply)
            return str(json.loads(reply.body)["name"])

        async def find() -> str | None:
            return await self.find(endpoint, name)

        return await persistently(find) or await create_once(create, find)

    async def find(self, endpoint: str, name: str) -> str | None:
        """The job that was started under a name: the one that has it, or else one of the endpoint that shows it.

        Raises:
            ServiceError: Azure ML does not answer.
        """
        found = await self._connection.look(lambda client: client.jobs.get(name))
        if found is not None:
            return str(found.name)

        def jobs_of(client: Any) -> str:
            scope = f"subscriptions/{client.subscription_id}/resourceGroups/{client.resource_group_name}"
            path = f"{scope}/providers/Microsoft.MachineLearningServices/workspaces/{client.workspace_name}"
            return f"{api_address(client)}/mferp/managementfrontend/{path}/batchEndpoints/{endpoint}/jobs"

        base = await self._connection.call(jobs_of)
        address: str | None = f"{base}?api-version={LIST_VERSION}"
        while address is not None and address.startswith(base):  # so that our token goes nowhere else
            reply = await self._scoring.get(address)
            if reply.status != 200:
                raise _refusal(endpoint, reply)
            page: dict[str, Any] = json.loads(reply.body)
            for job in page.get("value") or ():
                if (job.get("properties") or {}).get("name") == name:
                    return str(job["name"])
            address = page.get("nextLink")
        return None


def _refusal(endpoint: str, reply: Reply) -> Exception:
    text = " ".join(reply.body.decode(errors="replace").split())[:500]
    told = f"The batch endpoint {endpoint} answered {reply.status}: {text}"
    if reply.status == 0 or reply.status in TRANSIENT:
        return ServiceError(told)
    if reply.status == 409:
        return AlreadyThereError(told)
    return SettingsError(told) if reply.status in (401, 403) else UserError(told)
