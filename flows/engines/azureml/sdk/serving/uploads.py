"""What a deployment is made of, brought to the workspace: code, environment and model, each once for its content."""

from pathlib import Path
from typing import Any

import yaml
from azure.ai.ml import Input
from azure.ai.ml.constants import AssetTypes
from azure.ai.ml.entities import Environment as SdkEnvironment
from azure.ai.ml.entities import Model
from azure.ai.ml.entities._assets import Code
from azure.ai.ml.operations._operation_orchestrator import OperationOrchestrator

from flows.engines.azureml.sdk.connection import Connection
from flows.engines.azureml.sdk.retries import create_once, persistently
from flows.spec.model.asset_reference import AssetReference
from flows.spec.model.job import Environment


class Uploads:
    """Finds the ids of assets in a workspace. What is not there yet, and is on this machine, is uploaded."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def code(self, folder: Path) -> str:
        """The id of a folder of code; the same for the same content."""
        return await self._upload(Code(base_path=str(folder.parent), path=str(folder)), "codes")

    async def environment(self, environment: Environment) -> str:
        """The id of an environment: one of the workspace or of a registry, or an image with a conda file.

        Raises:
            UserError: The workspace has none of that name.
        """
        reference = environment.reference
        if reference is not None:
            named = AssetReference.short(reference)
            return await self._upload(reference if named is None else str(named), "environments")
        # The client takes a path or the parsed content, and would take the text for a path.
        conda: Any = None if environment.conda is None else yaml.safe_load(environment.conda)
        inline = SdkEnvironment(image=environment.image, conda_file=conda)
        return await self._upload(inline, "environments")

    async def model(self, source: str, name: str, digest: str) -> str:
        """The id of a model: one of the workspace or of a registry, or a folder of this machine.

        A folder becomes a version of the model ``name`` that is named after its digest, and no number.

        Args:
            source: ``azureml:name:version``, ``azureml://registries/…``, or the folder.
            name: Of the registered model.
            digest: The SHA-256 of the folder's files.
        """
        if not Path(source).is_absolute():
            named = AssetReference.short(source)
            return await self._upload(source if named is None else str(named), "models")
        version = f"sha256-{digest[:32]}"
        entity = Model(name=name, version=version, path=source, type=AssetTypes.MLFLOW_MODEL)

        async def find() -> str | None:
            found: Any = await self._connection.look(lambda client: client.models.get(name, version))
            return None if found is None else str(found.id)

        async def create() -> str:
            made: Any = await self._connection.upload(
                lambda client: client.models.create_or_update(entity), again=False
            )
            return str(made.id)

        return await persistently(find) or await create_once(create, find)

    async def compute(self, name: str) -> str:
        """The id of a compute target of the workspace, whether it is there or not."""
        return await self._upload(name.removeprefix("azureml:"), "computes")

    async def data(self, path: str, *, is_folder: bool) -> str:
        """The address of data: a file or folder of this machine is uploaded, unless the same content is there.

        Args:
            path: An absolute path, ``azureml:name:version``, ``azureml:name@latest``, or an address, which stays.
            is_folder: Whether it is a folder.

        Raises:
            UserError: There is no such data.
        """
        kind = AssetTypes.URI_FOLDER if is_folder else AssetTypes.URI_FILE

        def resolve(client: Any) -> str:
            given: Any = Input(type=kind, path=path)
            if not path.startswith("https:"):
                client.batch_endpoints._resolve_input(given, "/")
            return str(given.path)

        return await persistently(lambda: self._connection.upload(resolve))

    async def _upload(self, asset: Any, kind: str) -> str:
        def resolve(client: Any) -> str:
            operations: Any = client.online_deployments
            orchestrator: Any = OperationOrchestrator(
                operations._all_operations, operations._operation_scope, operations._operation_config
            )
            return str(orchestrator.get_asset_arm_id(asset, azureml_type=kind))

        return await persistently(lambda: self._connection.upload(resolve))
