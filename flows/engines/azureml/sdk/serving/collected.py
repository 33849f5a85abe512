"""What Azure ML's data collector keeps: the data assets that it is registered as, and its files in blob storage."""

from pathlib import Path
from typing import Any

from azure.ai.ml._artifacts._artifact_utilities import get_datastore_info
from azure.ai.ml._utils._storage_utils import AzureMLDatastorePathUri, get_storage_client
from azure.ai.ml.constants._deployment import DEFAULT_MDC_PATH
from azure.ai.ml.entities import Data

from flows.engines.azureml.sdk.connection import Connection
from flows.engines.azureml.sdk.retries import create_once, persistently
from flows.errors import ServingError
from flows.spec.model.endpoint import Collection
from flows.spec.text.names import inside

MOST_BYTES = 256 << 20  # that are brought to this machine, of the newest files


class Collected:
    """The collections of the deployments of a workspace."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def asset(self, endpoint: str, deployment: str, collection: Collection) -> str:
        """The id of the data asset of a collection, which is made if it is not there, as the SDK makes it."""
        name = collection.data_name or f"{endpoint}-{deployment}-{collection.name}"
        path = collection.data_path or f"{DEFAULT_MDC_PATH}/{endpoint}/{deployment}/{collection.name}"
        version = collection.data_version

        async def find() -> str | None:
            found: Any = await self._connection.look(lambda client: client.data.get(name, version))
            return None if found is None else str(found.id)

        async def create() -> str:
            data = Data(name=name, version=version, path=path)
            made: Any = await self._connection.upload(lambda client: client.data.create_or_update(data), again=False)
            return str(made.id)

        return await persistently(find) or await create_once(create, find)

    async def download(self, endpoint: str, folder: Path, most_bytes: int = MOST_BYTES) -> Path:
        """Download the files of an endpoint into ``folder``, the newest if they are too large, and return it.

        Raises:
            ServingError: The workspace keeps them in no blob storage.
        """
        return await self._connection.call(lambda client: _download(client, endpoint, folder, most_bytes))


def _download(client: Any, endpoint: str, folder: Path, most_bytes: int) -> Path:
    address: Any = AzureMLDatastorePathUri(f"{DEFAULT_MDC_PATH}/{endpoint}")
    storage: Any = get_storage_client(**get_datastore_info(client.datastores, address.datastore))
    container = getattr(storage, "container_client", None)
    if container is None:
        raise ServingError(f"What {endpoint} was asked is in a datastore that is no blob storage. Nothing was read.")
    root, size = f"{address.path.strip('/')}/", 0
    blobs = [blob for blob in container.list_blobs(name_starts_with=root) if blob.name.endswith(".jsonl")]
    for blob in sorted(blobs, key=lambda blob: blob.last_modified, reverse=True):
        size += blob.size
        if size > most_bytes:
            break
        file = inside(folder, *blob.name.removeprefix(root).split("/"))
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as copy:
            container.download_blob(blob.name).readinto(copy)
    return folder
