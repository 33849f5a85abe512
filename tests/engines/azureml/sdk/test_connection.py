"""The connection to a workspace: what cannot be had now is asked for again, what is refused says what to do."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flows.engines.runs import RunStatus
from flows.errors import ServiceError, SettingsError
from flows.settings import Settings
from tests.azure_ml_service.faults import Fault
from tests.azure_ml_service.service import Service
from tests.conftest import Write
from tests.engines.conftest import Await
from tests.engines.jobs import COMPUTE, JobRunner, command, job, pipeline

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("azure_client_allowed")]

BLOB = r"\.blob\.core\.windows\.net/.*say\.py"
LOGIN = r"login\.microsoftonline\.com"


def looked(run: Await) -> None:
    from flows.engines.azureml.sdk.connection import Connection

    connection = Connection(Settings.from_environment(), retry_total=0)
    try:
        run(connection.look(lambda client: client.data.get("diabetes-diagnostics", "1")))
    finally:
        connection.close()


@pytest.mark.parametrize(
    "trouble",
    [
        Fault("POST", LOGIN + ".*/token", "reset", times=None),
        Fault("POST", LOGIN + ".*/token", code=503, times=None),
        Fault(".*", LOGIN, "reset", times=None),
    ],
    ids=["tokens: cut", "tokens: 503", "all: cut"],
)
def test_first_token_that_is_out_of_reach_is_no_refusal(trouble: Fault, azure_environment: Service, run: Await) -> None:
    azure_environment.faults.add(trouble)
    with pytest.raises(ServiceError, match="No token can be had at the moment"):
        looked(run)


def test_first_token_that_is_refused_is_told_with_what_to_do(
    azure_environment: Service, run: Await, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong")
    with pytest.raises(SettingsError, match=r"No credential was accepted(.|\n)*az login") as raised:
        looked(run)
    assert "wrong" not in str(raised.value)


def test_token_that_ends_once_the_compute_target_was_found_is_no_fault_of_the_pipeline(
    azure_jobs: JobRunner, azure_ml: Service, write: Write
) -> None:
    """The SDK's own validation would ask for the compute target again, and take a refused token for a missing one."""
    write({"job.yml": pipeline({"a": command("true", compute=COMPUTE)})})
    azure_ml.faults.add(Fault("GET", r"/computes/", "expired", skip=1, times=None))
    assert azure_jobs.run().outcome.status is RunStatus.COMPLETED


@pytest.mark.parametrize(
    "trouble",
    [
        Fault("POST", "/startPendingUpload", "reset", after_work=True),
        Fault("POST", "/startPendingUpload", "expired"),
        Fault("PUT", BLOB, code=429),
        Fault("PUT", BLOB, "expired"),
    ],
    ids=["cut", "token ended", "blob: not now", "blob: token ended"],
)
def test_trouble_while_code_is_uploaded_is_passing(
    azure_jobs: JobRunner, azure_ml: Service, write: Write, trouble: Fault
) -> None:
    """The SDK wraps what a request ends with, as an error of the code, or leaves it in a thread and waits for ever."""
    write({"code/say.py": f"print({str(trouble)!r})\n", "job.yml": job("python say.py", code="./code")})
    azure_ml.faults.add(trouble)
    assert azure_jobs.run().outcome.status is RunStatus.COMPLETED
    assert trouble.hits


def test_upload_that_is_not_permitted_says_that_it_is_the_identity(
    azure_jobs: JobRunner, azure_ml: Service, write: Write
) -> None:
    write({"code/say.py": "print('not permitted')\n", "job.yml": job("python say.py", code="./code")})
    azure_ml.faults.add(Fault("POST", "/startPendingUpload", code=403, times=None))
    with pytest.raises(SettingsError, match="The identity may not do this in the workspace"):
        azure_jobs.run()


@pytest.mark.parametrize("method", ["HEAD", "PUT"])
def test_storage_that_is_not_permitted_says_which_role_is_missing(
    azure_jobs: JobRunner, azure_ml: Service, write: Write, method: str
) -> None:
    write({"code/say.py": f"print({method!r})\n", "job.yml": job("python say.py", code="./code")})
    azure_ml.faults.add(Fault(method, BLOB, code=403, error="AuthorizationPermissionMismatch", times=None))
    with pytest.raises(SettingsError, match=r"storage account(.|\n)*Storage Blob Data Contributor"):
        azure_jobs.run()


def test_key_of_the_storage_account_that_cannot_be_had_at_the_moment_is_asked_for_again(
    azure_jobs: JobRunner, azure_ml: Service, write: Write
) -> None:
    """The SDK goes on without it, and would be refused."""
    rows = {"type": "uri_file", "path": "./rows.csv"}
    write({"rows.csv": "1,2\n", "job.yml": job("cat ${{inputs.rows}}", inputs={"rows": rows})})
    trouble = Fault("POST", "/listSecrets", code=429)
    azure_ml.faults.add(trouble)
    assert azure_jobs.run().outcome.status is RunStatus.COMPLETED
    assert trouble.hits


@pytest.mark.parametrize(
    "trouble",
    [Fault("GET", "/discovery", "expired"), Fault("GET", "/discovery", "answer", body={"maintenance": True})],
    ids=["refused", "something else"],
)
def test_address_of_the_run_history_that_cannot_be_had_at_the_moment_is_asked_for_again(
    azure_jobs: JobRunner, azure_ml: Service, write: Write, trouble: Fault
) -> None:
    write({"job.yml": pipeline({"a": command("true")})})
    azure_ml.faults.add(trouble)
    assert azure_jobs.run().outcome.status is RunStatus.COMPLETED
    assert trouble.hits


CALLS: dict[str, Callable[[Any], Awaitable[object]]] = {
    "looking": lambda workspace: workspace.jobs.find("nobody"),
    "listing": lambda workspace: workspace.jobs.tagged("tandem.flow_run"),
}


@pytest.mark.parametrize("managed", [False, True], ids=["service principal", "managed identity"])
@pytest.mark.parametrize("call", CALLS)
def test_call_whose_token_was_revoked_goes_on_with_a_new_one(
    azure_environment: Service, run: Await, monkeypatch: pytest.MonkeyPatch, call: str, managed: bool
) -> None:
    """The credential would give the token that it has kept, and so would each of the SDK's clients."""
    if managed:
        for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"):
            monkeypatch.delenv(name, raising=False)
        for name, value in azure_environment.managed_identity_environment.items():
            monkeypatch.setenv(name, value)
    from flows.engines.azureml.sdk.workspace import open_workspace

    async def scenario() -> None:
        async with open_workspace(Settings.from_environment()) as workspace:
            await CALLS[call](workspace)
            azure_environment.identity.revoke()
            await CALLS[call](workspace)

    run(scenario())
    assert [one.status for one in azure_environment.requests if "/jobs" in one.path].count(401) == 1


def test_job_that_is_sent_when_the_token_is_revoked_is_sent_once_more_and_runs_once(
    azure_jobs: JobRunner, azure_ml: Service, write: Write
) -> None:
    """Each of the SDK's clients has kept the token: that of jobs, of codes, of environments."""
    write({"code/say.py": "print('revoked')\n", "job.yml": job("python say.py", code="./code")})
    revoked = [
        Fault("GET", r"/codes/", "call", action=azure_ml.identity.revoke),
        Fault("PUT", r"/codes/", "call", action=azure_ml.identity.revoke, after_work=True),
        Fault("PUT", r"/jobs/", "call", action=azure_ml.identity.revoke),
    ]
    for fault in revoked:
        azure_ml.faults.add(fault)
    assert azure_jobs.run().outcome.status is RunStatus.COMPLETED
    assert all(fault.hits for fault in revoked)
    sent = [one for one in azure_ml.requests if one.method == "PUT" and "/jobs/" in one.path]
    assert len({one.path for one in sent}) == 1
    assert [one.status for one in sent if one.status] == [201]


def test_new_token_that_is_refused_too_is_told_with_what_to_do(azure_environment: Service, run: Await) -> None:
    refused = Fault("GET", r"/data/", "expired", times=None)
    azure_environment.faults.add(refused)
    with pytest.raises(ServiceError, match=r"A new token was refused too(.|\n)*ExpiredAuth(.|\n)*az login"):
        looked(run)
    assert refused.hits == 2
