"""Files of data assets, downloaded from a workspace."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from azure.ai.ml._artifacts._artifact_utilities import get_datastore_info
from azure.ai.ml._utils._storage_utils import AzureMLDatastorePathUri, get_storage_client
from azure.ai.ml.constants import AssetTypes
from azure.ai.ml.exceptions import ValidationException

from flows.engines.azureml.sdk.connection import Connection
from flows.errors import DataAssetError
from flows.spec.text.names import inside, unfit

MOST_BYTES = 1 << 30  # the SDK holds a file in memory before it writes it


def download(client: Any, address: str, folder: Path, *, is_file: bool) -> None:
    """Download the file, or what is in the folder, at an address of a datastore into ``folder``; nothing if it is gone.

    The SDK downloads whatever begins with the address, other files and folders beside it too.
    """
    place: Any = AzureMLDatastorePathUri(address)
    storage: Any = get_storage_client(**get_datastore_info(client.datastores, place.datastore))
    path: str = place.path.rstrip("/")
    if not is_file:
        storage.download(starts_with=f"{path}/", destination=folder)
        return
    with tempfile.TemporaryDirectory() as begins_so:
        storage.download(starts_with=path, destination=begins_so)
        file = inside(Path(begins_so), Path(path).name)
        if file.is_file():
            shutil.move(file, folder)


class DataFiles:
    """Downloads data assets that are a single file."""

    def __init__(self, connection: Connection, most_bytes: int = MOST_BYTES) -> None:
        self._connection = connection
        self._most_bytes = most_bytes

    async def download(self, name: str, version: str, folder: Path) -> Path:
        """Download a version of a data asset into ``folder``, which is made if need be, and return the file.

        Raises:
            DataAssetError: It is not a single file of a datastore, is too large, or is gone.
        """
        return await self._connection.call(lambda client: self._download(client, name, version, folder))

    def _download(self, client: Any, name: str, version: str, folder: Path) -> Path:
        asset: Any = client.data.get(name, version)
        what = f"The data asset {name}:{version}"
        if asset.type != AssetTypes.URI_FILE:
            raise DataAssetError(f"{what} is a {asset.type}; only a single file (uri_file) is brought to this machine.")
        try:
            address: Any = AzureMLDatastorePathUri(asset.path)
        except ValidationException:
            raise DataAssetError(
                f"{what} is at {asset.path}, which is no datastore of the workspace. Download it, and give the path."
            ) from None
        name_of_file = Path(address.path).name
        if unfit(name_of_file) is not None:
            raise DataAssetError(f"{what} is at {asset.path!r}, which ends in no name that a file can have here.")
        storage: Any = get_storage_client(**get_datastore_info(client.datastores, address.datastore))
        # Only blob storage tells sizes in the listing that the download itself makes.
        container = getattr(storage, "container_client", None)
        size = sum(blob.size for blob in container.list_blobs(name_starts_with=address.path)) if container else 0
        if size > self._most_bytes:
            raise DataAssetError(
                f"{what} has {size / 2**20:,.0f} MiB, and at most {self._most_bytes / 2**20:,.0f} MiB are brought to "
                "this machine. Make an asset of a sample of its rows."
            )
        storage.download(starts_with=address.path, destination=folder)
        file = inside(folder, name_of_file)
        if not file.is_file():
            raise DataAssetError(f"{what} is gone from its datastore: nothing is at {asset.path}.")
        return file
