"""MLflow address of a workspace, asked of Azure Resource Manager.

The SDK can tell it too, but first imports `azure.ai.ml` and MLflow into this process: some 3.5 s for one GET.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flows.engines.azureml.error_answers import read_error
from flows.engines.azureml.sdk.refusals import no_credential
from flows.errors import ServiceError, SettingsError
from flows.settings import WORKSPACE_VARIABLES

API_VERSION = "2024-10-01-preview"  # that of the SDK
CONNECT_SECONDS, READ_SECONDS = 10, 30
REMEDY = "Nothing was run. To track the runs on this machine, write --tracking local."
# By the names that the SDK and azureml-mlflow know: Azure Resource Manager, and studio.
_CLOUDS = {
    "AzureCloud": ("https://management.azure.com", "https://ml.azure.com"),
    "AzureChinaCloud": ("https://management.chinacloudapi.cn", "https://studio.ml.azure.cn"),
    "AzureUSGovernment": ("https://management.usgovcloudapi.net", "https://ml.azure.us"),
}


@dataclass(frozen=True, slots=True)
class WorkspaceTracking:
    """The MLflow of a workspace: what MLflow takes as its tracking URI, and where studio shows its runs."""

    uri: str
    studio: str
    query: str

    def page(self, run_id: str) -> str:
        """The page of a run in studio."""
        return f"{self.studio}/runs/{run_id}?{self.query}"


async def find_tracking(workspace: Mapping[str, str], environment: Mapping[str, str]) -> WorkspaceTracking:
    """Ask a workspace where its MLflow is.

    Args:
        workspace: The three variables that name it.
        environment: Of the processes that will track: in which cloud (``AZUREML_CURRENT_CLOUD``), and as which managed
            identity (``AZURE_CLIENT_ID``).

    Raises:
        ServiceError: It does not answer.
        SettingsError: There is no such workspace, or no identity that may see it.
    """
    return await asyncio.to_thread(_find, workspace, environment)


def _find(workspace: Mapping[str, str], environment: Mapping[str, str]) -> WorkspaceTracking:
    subscription, group, name = (workspace[variable] for variable in WORKSPACE_VARIABLES)
    cloud = environment["AZUREML_CURRENT_CLOUD"]
    if cloud not in _CLOUDS:
        raise SettingsError(f"AZUREML_CURRENT_CLOUD is {cloud!r}, none of {', '.join(_CLOUDS)}. {REMEDY}")
    manager, studio = _CLOUDS[cloud]
    path = f"subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.MachineLearningServices/workspaces"
    status, text = _get(f"{manager}/{path}/{name}", f"{manager}/.default", environment.get("AZURE_CLIENT_ID"))
    answer = read_error(status, text)
    said = answer.told().what
    if answer.is_page:
        raise (SettingsError if status in (403, 407) else ServiceError)(f"{answer.told()} {REMEDY}")
    if status == 404:
        raise SettingsError(f"There is no workspace {name} in {group} of subscription {subscription}. {REMEDY}")
    if status == 403:
        raise SettingsError(f"The identity may not read the workspace {name}: {said} {REMEDY}")
    if status != 200 or not text.startswith("{"):
        raise ServiceError(f"The workspace {name} answered {status}: {said} {REMEDY}")
    found: dict[str, Any] = json.loads(text)
    uri = str(found.get("properties", {}).get("mlFlowTrackingUri") or "")
    if not uri.startswith("azureml://"):
        raise SettingsError(f"The workspace {name} has no MLflow: its tracking URI is {uri!r}. {REMEDY}")
    tenant = (found.get("identity") or {}).get("tenantId")
    query = f"wsid=/subscriptions/{subscription}/resourcegroups/{group}/workspaces/{name}"
    return WorkspaceTracking(uri, studio, query + (f"&tid={tenant}" if tenant else ""))


def _get(url: str, scope: str, client_id: str | None) -> tuple[int, str]:
    """Status and body of a resource."""
    from azure.core import PipelineClient
    from azure.core.exceptions import AzureError, ClientAuthenticationError
    from azure.core.pipeline.policies import BearerTokenCredentialPolicy, RetryPolicy
    from azure.core.rest import HttpRequest
    from azure.identity import DefaultAzureCredential

    for noisy in ("azure", "msal", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    request = HttpRequest("GET", url, params={"api-version": API_VERSION})

    def sent(*policies: Any) -> tuple[int, str]:
        with PipelineClient(url, policies=policies) as client:
            answer = client.send_request(request, connection_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS)
            return answer.status_code, answer.text()

    credentials = 0
    try:
        with DefaultAzureCredential(managed_identity_client_id=client_id) as credential:
            credentials = len(credential.credentials)
            # 401: a token may have just ended, and the next try brings another.
            return sent(RetryPolicy(retry_on_status_codes=[401]), BearerTokenCredentialPolicy(credential, scope))
    except ClientAuthenticationError as error:
        refusal = str(error)
    except AzureError as error:
        raise _unreachable(url, error) from error
    try:
        sent()  # where nothing can be reached, the credential says so in words only
    except AzureError as error:
        raise _unreachable(url, error) from error
    raise SettingsError(f"{no_credential(refusal, credentials)} {REMEDY}")


def _unreachable(url: str, error: Exception) -> ServiceError:
    return ServiceError(f"{url} does not answer: {error}. {REMEDY}")
