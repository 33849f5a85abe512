"""Files of a registered model, downloaded from a workspace; the SDK's own download knows no models (1.33 to 1.35.2)."""

from pathlib import Path
from typing import Any

from azure.ai.ml._artifacts._artifact_utilities import get_datastore_info
from azure.ai.ml._utils._storage_utils import AzureMLDatastorePathUri, get_storage_client
from azure.ai.ml.exceptions import ValidationException

from flows.engines.azureml.sdk.connection import Connection
from flows.errors import ServingError
from flows.spec.text.names import inside

MOST_BYTES = 1 << 30


async def download_model(connection: Connection, name: str, version: int, folder: Path) -> Path:
    """Download the files of a version of a model into ``folder``, and return it.

    Raises:
        ServingError: The model is not in blob storage of the workspace, is too large, or its files are gone.
    """
    return await connection.call(lambda client: _download(client, name, version, folder))


def _download(client: Any, name: str, version: int, folder: Path) -> Path:
    model: Any = client.models.get(name, str(version))
    what = f"The model {name}:{version}"
    try:
        address: Any = AzureMLDatastorePathUri(model.path)
    except ValidationException:
        raise ServingError(f"{what} is at {model.path}, which is no datastore of the workspace.") from None
    storage: Any = get_storage_client(**get_datastore_info(client.datastores, address.datastore))
    container = getattr(storage, "container_client", None)
    if container is None:
        raise ServingError(f"{what} is in a datastore that is no blob storage, from which its files are not brought.")
    root = f"{address.path.strip('/')}/"
    blobs = [blob for blob in container.list_blobs(name_starts_with=root) if blob.size or "." in blob.name]
    size = sum(blob.size for blob in blobs)
    if not blobs or size > MOST_BYTES:
        said = "no files are there" if not blobs else f"it has {size / 2**20:,.0f} MiB"
        raise ServingError(f"{what} cannot be brought to this machine to be tested: {said} ({model.path}).")
    for blob in blobs:
        file = inside(folder, *blob.name.removeprefix(root).split("/"))
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as copy:
            container.download_blob(blob.name).readinto(copy)
    return folder
