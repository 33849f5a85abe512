"""Connection to a workspace: credential, threads, and the SDK's errors translated into Tandem's."""

import asyncio
import contextlib
import io
import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from azure.ai.ml import MLClient
from azure.ai.ml._artifacts._constants import ASSET_PATH_ERROR
from azure.ai.ml.exceptions import JobParsingError, MlException
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    DeserializationError,
    HttpResponseError,
    ResourceExistsError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.identity import CredentialUnavailableError, DefaultAzureCredential

from flows.engines.azureml.error_answers import ErrorAnswer, Told, read_error
from flows.engines.azureml.sdk.refusals import TRIED, no_credential, why_no_token
from flows.engines.azureml.sdk.retries import TRANSIENT, AlreadyThereError, CreateOnce
from flows.errors import ServiceError, SettingsError, TandemError, UserError
from flows.settings import WORKSPACE_VARIABLES, Settings

R = TypeVar("R")

SCOPE = "https://management.azure.com/.default"
THREADS = 4
READ_SECONDS = 100  # the SDK's own 300 would keep a thread for 20 minutes, tries included, where nobody answers
_SIGN_IN_AGAIN = (
    "Whoever signed in may have been signed out, or disabled: sign in again (`az login`), or look at the service "
    "principal or the managed identity, and at the clock of this machine. Then start the same command again."
)
_STORAGE = re.compile(r"^https://[^/]+\.(blob|dfs|file)\.")
_NOISY_LOGGERS = ("azure", "azure.ai.ml", "msal", "urllib3")
_uploading = threading.Lock()


class RefusedError(UserError):
    """Azure ML has refused what was asked: its ``answer``, and what a person is told of it."""

    def __init__(self, answer: ErrorAnswer, told: Told) -> None:
        super().__init__(str(told) if answer.says_absent else f"Azure ML refused: {told}")
        self.answer = answer
        self.told = told


class NotFoundError(RefusedError):
    """What was asked for, or what it needs, is not in the workspace."""


class StorageRefusedError(SettingsError):
    """The storage account of the workspace refuses."""


class TokenRefusedError(ServiceError):
    """The token was refused. The next call asks for another."""


class Connection:
    """Makes calls to one workspace, for every flow run of this process that uses it.

    The SDK is synchronous and not documented as thread-safe: each thread has a client of its own. The credential,
    which keeps the tokens, is one for all. ``client_options`` are those of azure-core, such as ``retry_total``, for
    every request, that for a token among them.

    A token that was revoked is refused before it expires, and the credential and the clients would send it until then.
    So when a token is refused, the credential and all clients are replaced. Whatever keeps tokens outside of this
    process, such as the Azure CLI, may still return the old one.
    """

    def __init__(self, settings: Settings, **client_options: Any) -> None:
        for name in _NOISY_LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        self._workspace = settings.workspace
        self.name = settings.workspace["AZUREML_ARM_WORKSPACE_NAME"]
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="azure-ml")
        self._own = threading.local()
        self._has_worked = False  # then a failure to get a token is temporary
        self._identity = settings.managed_identity_client_id
        self._client_options: dict[str, Any] = client_options
        self._renewing = threading.Lock()
        self._credentials = [self._new_credential()]

    @property
    def workspace_path(self) -> str:
        """Which workspace it is, in one text: subscription, resource group and name."""
        return "/".join(self._workspace[name] for name in WORKSPACE_VARIABLES)

    @property
    def az_flags(self) -> str:
        """The flags by which ``az ml`` is told which workspace it is."""
        return f"--resource-group {self._workspace['AZUREML_ARM_RESOURCEGROUP']} --workspace-name {self.name}"

    @property
    def credential(self) -> DefaultAzureCredential:
        """The credential in use."""
        return self._credentials[-1]

    def close(self) -> None:
        """Let the threads go; a call that is under way ends first."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for credential in self._credentials:
            credential.close()

    async def call(self, function: Callable[[Any], R], *, again: bool = True) -> R:
        """Call ``function`` with the SDK's client.

        Args:
            function: What is to be done. If the token is refused, it is done once more, with a new token.
            again: False for what must not be done twice (:func:`create_once`): the caller looks what became of it.

        Raises:
            TokenRefusedError: The token was refused, and a new one too, unless that was not tried.
            ServiceError: The service does not answer, or says that it cannot now; the call may be made again.
            NotFoundError: What is asked for, or what it needs, is not there.
            RefusedError: It refuses; making the call again is useless.
            SettingsError: The identity may not do this, or the workspace is not there.
        """

        def once() -> R:
            credential = self.credential
            try:
                return function(self._client(credential))
            except (AzureError, DeserializationError, json.JSONDecodeError) as error:
                translated = self._translated(error, credential)
                if isinstance(translated, TokenRefusedError):
                    self._replace(credential)
                raise translated from error

        loop = asyncio.get_running_loop()
        try:
            answer = await loop.run_in_executor(self._threads, once)
        except TokenRefusedError:
            if not again:
                raise
            try:
                answer = await loop.run_in_executor(self._threads, once)
            except TokenRefusedError as error:
                raise TokenRefusedError(f"A new token was refused too. {error}") from error
        except StorageRefusedError:
            # Where the workspace does not give the key at the moment, for whatever reason, the SDK comes to the storage
            # account with our identity alone, which need not have any rights there.
            answer = await loop.run_in_executor(self._threads, once)
        self._has_worked = True
        return answer

    async def look(self, find: Callable[[Any], R]) -> R | None:
        """Make a call that may find nothing; None then.

        Raises:
            NotFoundError: It is the workspace that is not there.
        """
        try:
            return await self.call(find)
        except NotFoundError as error:
            if error.answer.says_no_workspace:
                raise
            return None

    async def upload(self, function: Callable[[Any], R], *, again: bool = True) -> R:
        """A call that uploads files, for which the SDK draws progress bars on standard error."""

        def quietly(client: Any) -> R:
            with _uploading, contextlib.redirect_stderr(io.StringIO()):
                return function(client)

        return await self.call(quietly, again=again)

    def _translated(self, error: Exception, credential: DefaultAzureCredential) -> TandemError:
        """What an error of the SDK is for Tandem: whose fault it is, and whether the call may be made again."""
        wire, credentials = _http_error(error), len(credential.credentials)
        answer = _answer(wire)
        group, name = self._workspace["AZUREML_ARM_RESOURCEGROUP"], self.name
        flags = f" --resource-group {group} --workspace-name {name}"
        told = Told(_text(error)) if answer is None else answer.told(flags)
        match wire:
            case _ if answer is not None and answer.is_page:
                return (SettingsError if answer.status in (403, 407) else ServiceError)(str(told))
            case DeserializationError() | json.JSONDecodeError() | JobParsingError():
                return ServiceError(f"The answer cannot be read: {told}")
            case DecodeError(status_code=status) if status is None or status < 400:
                return ServiceError(f"The answer cannot be read: {told}")
            case ResourceExistsError():
                return AlreadyThereError(str(told))
            case HttpResponseError() if ASSET_PATH_ERROR in str(wire):
                return AlreadyThereError(str(told))  # a version of data or of a model, with other content
            case HttpResponseError(status_code=401):
                return TokenRefusedError(f"Azure ML does not take the token any more: {told}\n{_SIGN_IN_AGAIN}")
            case ClientAuthenticationError() if self._is_unreachable(str(wire)):
                return ServiceError(f"No token can be had at the moment: {why_no_token(str(wire), credentials)}")
            case ClientAuthenticationError():
                return SettingsError(no_credential(str(wire), credentials))
            case ServiceRequestError() | ServiceResponseError():
                return ServiceError(f"Azure ML does not answer: {told}")
            case HttpResponseError(status_code=status) if status in TRANSIENT:
                return ServiceError(f"Azure ML answered {status}: {told}")
            case HttpResponseError(status_code=403) if _STORAGE.match(_asked(wire)):
                return StorageRefusedError(
                    f"The identity may not use the storage account of the workspace: {told}\nGive it the role Storage "
                    "Blob Data Contributor there, and see whether the account's network rules let this machine in."
                )
            case HttpResponseError(status_code=403):
                return SettingsError(f"The identity may not do this in the workspace: {told}")
            case HttpResponseError() if answer is not None:
                return (NotFoundError if answer.says_absent else RefusedError)(answer, told)
            case MlException():
                return UserError(f"Azure ML refused: {told}")
            case _:
                return ServiceError(f"Azure ML cannot be reached: {told}")

    def _is_unreachable(self, refusal: str) -> bool:
        """Whether there is no token because the service that issues them does not answer.

        The chain of credentials says only in its text what each answered. The one at which it stopped is asked again.
        """
        if self._has_worked:
            return True
        tried, credentials = TRIED.findall(refusal), list[Any](self.credential.credentials)
        last = next((each for each in credentials if type(each).__name__ in tried[-1:]), None)
        if last is None:
            return False
        try:
            last.get_token(SCOPE)
        except CredentialUnavailableError:
            return False  # it is not set up here
        except AzureError as error:
            is_busy = (
                re.search(r"HTTP (Error|status): (429|5\d\d)", str(error)) is not None
            )  # the status is in the text only
            return is_busy or any(
                isinstance(cause, ServiceRequestError | ServiceResponseError) for cause in _causes(error)
            )
        return True

    def _new_credential(self) -> DefaultAzureCredential:
        # Without the second argument a workload identity would take the first for its own id.
        pod = os.environ.get("AZURE_CLIENT_ID") or self._identity
        return DefaultAzureCredential(
            managed_identity_client_id=self._identity, workload_identity_client_id=pod, **self._client_options
        )

    def _replace(self, credential: DefaultAzureCredential) -> None:
        """Make a new credential, unless another thread has done so since. The old one may still be in use."""
        with self._renewing:
            if credential is self.credential:
                self._credentials.append(self._new_credential())

    def _client(self, credential: DefaultAzureCredential) -> Any:
        if getattr(self._own, "credential", None) is not credential:
            self._own.credential = credential
            options: dict[str, Any] = {"read_timeout": READ_SECONDS, **self._client_options}
            self._own.client = MLClient(
                credential,
                self._workspace["AZUREML_ARM_SUBSCRIPTION"],
                self._workspace["AZUREML_ARM_RESOURCEGROUP"],
                self.name,
                per_call_policies=[CreateOnce()],
                show_progress=True,  # without, the SDK waits for ever for a file of a folder that cannot be uploaded
                **options,
            )
        return self._own.client


def _http_error(error: Exception) -> Exception:
    """The error of the HTTP request that the SDK has wrapped in one of its own; else the error itself."""
    of_azure = (cause for cause in _causes(error) if isinstance(cause, AzureError))
    return next((cause for cause in of_azure if not isinstance(cause, MlException)), error)


def _answer(error: Exception) -> ErrorAnswer | None:
    """The answer that an error of the SDK stands for; None if it stands for none."""
    if isinstance(error, json.JSONDecodeError):
        return read_error(200, error.doc)
    response: Any = getattr(error, "response", None)
    if not isinstance(error, HttpResponseError) or response is None or error.status_code is None:
        return None
    try:
        body = str(response.text())
    except (AzureError, UnicodeError):
        body = ""  # it was never read, or is no text
    # The address of a request that was to make something says nothing of what was missed.
    asked = "" if response.request.method == "PUT" else _asked(error)
    return read_error(error.status_code, body, asked, str(response.headers.get("Content-Type") or ""))


def _asked(error: HttpResponseError) -> str:
    """The address of the request that got this answer; empty where it is not known."""
    return str(getattr(getattr(error.response, "request", None), "url", ""))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes, the outermost first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _text(error: Exception) -> str:
    message = str(getattr(error, "message", None) or error)
    with contextlib.suppress(ValueError, KeyError, TypeError):
        # A pipeline that is refused is told as JSON, with the same words for every node that they concern.
        faults: list[dict[str, Any]] = json.loads(message)["errors"]
        message = "; ".join(dict.fromkeys(f"{fault['path']}: {fault['message']}" for fault in faults))
    return " ".join(message.split())
