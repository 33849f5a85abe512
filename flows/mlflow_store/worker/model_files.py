"""Files of model versions: found as MLflow resolves them, brought to this machine, and kept among a run's artifacts."""

import filecmp
import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from flows.data.digests import ADDED_ON_LOADING, BYTE_CODE
from flows.mlflow_store.worker.clients import repeated, transferring
from flows.mlflow_store.worker.errors import Refused, is_transient, status_of
from flows.mlflow_store.worker.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities.model_registry import ModelVersion

MODEL_PATH = "model"
_BROUGHT = "registered-models"  # beside the folder of artifacts: models that were fetched


class ModelFiles(Store):
    """The files of model versions."""

    def _folder_of(self, version: "ModelVersion") -> Path:
        """The folder with a version's files: where they are, if that is on this machine, else a copy.

        A copy is kept, since the files of a version do not change.

        Raises:
            Refused: The files are gone, or out of reach.
        """
        uri = self._resolved(self._client.get_model_version_download_uri(version.name, str(version.version)))
        if (folder := local_folder(uri)) is not None:
            if not folder.is_dir():
                raise Refused(_gone(version, str(folder), self._registry_uri if self.registry_is_shared else None))
            return folder
        identity = (self._registry_uri, version.name, version.version, version.creation_timestamp, uri)
        digest = hashlib.sha256("\n".join(map(str, identity)).encode()).hexdigest()[:12]
        target = self._artifacts.with_name(_BROUGHT) / f"{version.name}-{version.version}-{digest}"
        if not target.is_dir():
            self._fetch(version, uri, target)
        return target

    def _resolved(self, uri: str) -> str:
        """Where the files of a model are that was logged under an id (``models:/m-…``); else the address itself."""
        if not uri.startswith("models:"):
            return uri
        from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository

        underlying: Any = ModelsArtifactRepository.get_underlying_uri
        return str(repeated(lambda: underlying(uri)))

    def _fetch(self, version: "ModelVersion", uri: str, target: Path) -> None:
        """Bring the files of a version to this machine, all of them or none."""
        from mlflow.artifacts import download_artifacts

        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with transferring():
                found = repeated(lambda: download_artifacts(artifact_uri=uri, dst_path=str(draft)))
            if not _files(Path(found)):
                raise Refused(_gone(version, uri))
            if not target.is_dir():  # by another process meanwhile
                Path(found).rename(target)
        except Exception as error:
            if isinstance(error, Refused) or is_transient(error) or status_of(error) in (401, 403):
                raise
            raise Refused(f"{_gone(version, uri)} ({type(error).__name__}: {error})") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _keep_model(self, folder: Path, run_id: str) -> str:
        """Put a model among the artifacts of a run, and answer its address, which whoever sees the registry can open.

        Raises:
            Refused: There is no model, its run holds another one already, or only this machine could open it.
        """
        if not _files(folder):
            raise Refused(f"There is no model to register: {folder} is missing or empty. Run the train step again.")
        artifacts = f"{self._artifacts.as_uri()}/{run_id}/artifacts"
        run: Any = None if self.in_workspace else self._find_run(run_id)
        if run is not None:  # else where they would be: a job that ran nothing has no run of its own
            artifacts = run.info.artifact_uri.rstrip("/")
        source = f"{artifacts}/{MODEL_PATH}"
        target = local_folder(source)
        if target is not None:
            if self.registry_is_shared:
                raise Refused(only_here(self._registry_uri, source))
            self._copy_model(folder, target, source, run_id)
        else:
            self._refuse_another_model(source, run_id, folder)
            self._runs.log_artifacts(run_id, str(folder), MODEL_PATH)
            source = self._for_everyone(source)
        return source

    def _copy_model(self, folder: Path, target: Path, source: str, run_id: str) -> None:
        """Copy a model into the folder of a run's artifacts on this machine."""
        if target.exists():
            if _same_files(folder, target):
                return
            self._refuse_another_model(source, run_id)
            shutil.rmtree(target)  # what a copy that was cut short left behind
        shutil.copytree(folder, target)

    def _refuse_another_model(self, source: str, run_id: str, folder: Path | None = None) -> None:
        """Refuse to replace the files of a version, unless they are those of ``folder``.

        Raises:
            Refused: A version has this source, and other files.
        """
        users = [v for v in self._versions_of_run(run_id) if v.source in (source, self._for_everyone(source))]
        if users and (folder is None or not _same_files(folder, self._folder_of(users[0]))):
            raise Refused(
                f"Run {run_id} already holds another model, version {users[0].version} of {users[0].name!r}, which "
                "must not change. Register this one from a run of its own."
            )

    def _versions_of_run(self, run_id: str) -> "Iterator[ModelVersion]":
        return self._pages(self._client.search_model_versions, filter_string=f"run_id = '{run_id}'")

    def _for_everyone(self, source: str) -> str:
        """An address that is relative to the server of the runs, made absolute if the registry is another server."""
        if self._registry_uri == self._uri or not source.startswith("mlflow-artifacts:/"):
            return source
        rest = source.removeprefix("mlflow-artifacts:")
        return source if rest.startswith("//") else f"mlflow-artifacts://{urlsplit(self._uri).netloc}{rest}"


def only_here(server: str, place: str) -> str:
    """The message that artifacts would be kept where only this machine, or only the server, can open them."""
    return (
        f"The MLflow server {server} keeps no artifacts that others can open: they would be in the folder {place}. "
        "Start it with --serve-artifacts and --artifacts-destination, or with --default-artifact-root on storage such "
        "as s3://. Then use another experiment name: an experiment keeps the place that it was made with."
    )


def local_folder(uri: str) -> Path | None:
    """The folder of this machine that an address names; None if it names something else."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return None
    return Path(unquote(parts.path) if parts.scheme else uri)


def _gone(version: "ModelVersion", folder: str, server: str | None = None) -> str:
    where = f" on this machine, and the server {server} names no other place" if server else ""
    return (
        f"Version {version.version} of the model {version.name!r} is registered, but its folder {folder} is gone"
        f"{where}. Put the folder back, or delete the version (in `mlflow ui`, or "
        "MlflowClient().delete_model_version) and run again."
    )


def _files(folder: Path) -> list[Path]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if path != Path(ADDED_ON_LOADING) and BYTE_CODE not in path.parts)


def _same_files(one: Path, other: Path) -> bool:
    names = _files(one)
    return names == _files(other) and all(filecmp.cmp(one / name, other / name, shallow=False) for name in names)
