"""Where MLflow keeps runs and registered models: the local state, another SQLite file, or a server.

Decided by MLFLOW_TRACKING_URI and MLFLOW_REGISTRY_URI, as for every program that uses MLflow. What signs in to a server
is in MLflow's own variables (MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN). A name and a password in the address
are moved there, so that no address in a message, a log or the environment of a step has them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from urllib.parse import SplitResult, unquote, urlsplit

from flows.errors import SettingsError
from flows.plain_text.addresses import without_user
from flows.settings import Settings

TRACKING, REGISTRY = "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"
USERNAME, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
# What MLflow's client reads to sign in to a server, and to trust it; passed to the steps that log to one.
SIGN_IN = frozenset(
    {
        *(USERNAME, PASSWORD, "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_INSECURE_TLS", "MLFLOW_TRACKING_AUTH"),
        *("MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_CLIENT_CERT_PATH", "MLFLOW_TRACKING_AWS_SIGV4"),
    }
)
_SQLITE, _WORKSPACE = "sqlite:///", "azureml://"
_KNOWN = "Write http://… or https://… of an MLflow server, or sqlite:///FILE"


@dataclass(frozen=True, slots=True)
class MlflowPlace:
    """Where runs and registered models are kept.

    Attributes:
        tracking: MLflow's tracking URI, without name and password.
        registry: Its registry URI; the same, unless both were set.
        is_own: Whether both are the store of the local state.
        is_server: Whether runs are kept by a server.
        variables: What signs in, as far as it was in the address.
    """

    tracking: str
    registry: str
    is_own: bool = False
    is_server: bool = False
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType(dict[str, str]()), repr=False)

    def __str__(self) -> str:
        models = "" if self.registry == self.tracking else f", models in {self.registry}"
        return f"{self.tracking}{models}"


def own_place(settings: Settings) -> MlflowPlace:
    """The store of the local state."""
    return MlflowPlace(settings.mlflow_uri, settings.mlflow_uri, is_own=True)


def mlflow_place(settings: Settings) -> MlflowPlace:
    """Where the settings say that runs and models are kept; without settings, in the local state.

    An ``azureml://`` address counts as not set: compute of Azure ML sets it for every process, and it is
    ``--tracking azureml`` that tracks into a workspace.

    Raises:
        SettingsError: An address is one that Tandem cannot use.
    """
    set_ = {name: uri for name, uri in settings.mlflow.items() if not uri.strip().lower().startswith(_WORKSPACE)}
    if not set_:
        return own_place(settings)
    tracking, variables = _address(TRACKING, set_.get(TRACKING, settings.mlflow_uri))
    registry, others = _address(REGISTRY, set_.get(REGISTRY) or tracking)
    if others and others != variables:
        raise SettingsError(
            f"{REGISTRY} has a name and a password in it, and MLflow signs in to both servers as one user: set "
            f"{USERNAME} and {PASSWORD} instead. Nothing was run."
        )
    if is_http(registry) and not is_http(tracking):
        raise SettingsError(
            f"{REGISTRY} is the server {registry}, and the runs with their models would be kept on this machine "
            f"({tracking}), where nobody else can open them. Set {TRACKING} to a server too. Nothing was run."
        )
    is_own = tracking == registry == settings.mlflow_uri
    return MlflowPlace(tracking, registry, is_own, is_http(tracking), MappingProxyType(dict(variables)))


def is_http(uri: str) -> bool:
    """Whether an address is that of a server."""
    return uri.startswith(("http://", "https://"))


def _address(variable: str, uri: str) -> tuple[str, Mapping[str, str]]:
    """An address as MLflow takes it from any folder, and what was in it to sign in.

    Raises:
        SettingsError: It is of a kind that Tandem does not use.
    """
    uri = uri.strip()
    if uri.startswith(_SQLITE):  # another one than an absolute path is relative to the folder of this command
        return f"{_SQLITE}{Path(uri.removeprefix(_SQLITE)).expanduser().absolute()}", {}
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        raise SettingsError(f"{variable} is no address. {_KNOWN}. Nothing was run.") from None
    if parts.scheme in ("http", "https") and parts.hostname:
        signs = {USERNAME: unquote(parts.username or ""), PASSWORD: unquote(parts.password or "")}
        return _bare(parts).rstrip("/"), {name: value for name, value in signs.items() if value}
    raise SettingsError(f"{variable} is {_bare(parts)!r}, which Tandem does not use: {_why(parts)}. Nothing was run.")


def _bare(parts: SplitResult) -> str:
    """An address without what may be secret: the name and password, and a query."""
    return without_user(parts._replace(query="", fragment="").geturl())


def _why(parts: SplitResult) -> str:
    scheme = parts.scheme.partition("+")[0]
    if scheme in ("postgresql", "postgres", "mysql", "mssql", "sqlite"):
        return f"only an MLflow server is to speak with that database. Start `mlflow server` on it. {_KNOWN}"
    if scheme in ("", "file"):
        return f"MLflow keeps no locks in a folder of files. {_KNOWN}"
    return _KNOWN


def worker_variables(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The variables of the clouds' storage, for the worker alone, which may read and write artifacts there."""
    prefixes = ("AWS_", "GOOGLE_", "AZURE_STORAGE_", "AZURE_CLIENT_", "AZURE_TENANT_", "MLFLOW_S3_")
    return {name: value for name, value in environment.items() if name.startswith(prefixes)}


def sign_in_variables(place: MlflowPlace) -> Mapping[str, str]:
    """What a process needs to sign in to a server: what a person has set, and what was in the address."""
    given = {name: os.environ[name] for name in SIGN_IN if name in os.environ} if place.is_server else {}
    return {**given, **place.variables}
