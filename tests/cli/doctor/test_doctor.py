"""``tandem doctor``: what it finds, with the real SDK against the loopback service and a real Prefect server."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from flows.cli.doctor.findings import CHECKS, Finding, Status, fail, finding_as_text, ok, skip
from flows.cli.doctor.machine import check_state, check_variables
from flows.cli.doctor.versions import version_findings
from flows.cli.main import main
from flows.settings import PROJECT, WORKSPACE_VARIABLES, Settings
from tests.azure_ml_service.faults import Fault
from tests.azure_ml_service.identity import CLIENT, IMDS_PATH
from tests.azure_ml_service.service import Service

pytestmark = pytest.mark.filterwarnings("ignore")

OF_THE_WORKSPACE = CHECKS[CHECKS.index("identity") :]
UNKNOWN = "99999999-9999-9999-9999-999999999999"
Examine = Callable[[], dict[str, dict[str, str]]]


@pytest.fixture
def service(
    azure_environment: Service, azure_client_allowed: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Service:
    """The service, and nothing else that could sign us in."""
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1")  # where no machine's identities are
    monkeypatch.setenv("PATH", str(home / "bin"))  # with no az, azd or pwsh
    monkeypatch.setattr("flows.engines.azureml.sdk.retries.FIRST_SECONDS", 0.1)
    return azure_environment


@pytest.fixture
def examine(service: Service, capsys: pytest.CaptureFixture[str]) -> Examine:
    """Run the command with ``--json``; returns the findings by check."""

    def run() -> dict[str, dict[str, str]]:
        code = main(["doctor", "--json"])
        findings = json.loads(capsys.readouterr().out)
        assert code == any(finding["status"] == "FAIL" for finding in findings)
        assert "eyJ" not in str(findings)  # which is how every token begins
        return {finding["check"]: finding for finding in findings}

    return run


def statuses(findings: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {check: finding["status"] for check, finding in findings.items()}


def set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the service principal's variables away."""
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(name)


# The workspace


def test_all_is_well(examine: Examine, service: Service) -> None:
    found = examine()
    assert tuple(found) == CHECKS
    assert statuses(found) == {**dict.fromkeys(CHECKS, "ok"), "work pool": "skip", "messages": "skip"}
    assert f"EnvironmentCredential: application {CLIENT}" in found["identity"]["message"]
    assert found["workspace"]["message"] == "loopback-ws, in westeurope"
    assert "STANDARD_DS3_V2, dedicated, 0 to 4 nodes" in found["compute"]["message"]
    assert found["quota"]["message"] == (
        "4 of 24 cores in use (Standard DSv2 Family Cluster Dedicated vCPUs); all 4 nodes of cpu-cluster-01 take 16"
    )
    assert not service.violations
    assert not any(request.method in ("PUT", "PATCH", "DELETE") for request in service.requests)


def test_workspace_that_the_identity_may_not_read_comes_with_the_command_that_grants_it(
    examine: Examine, service: Service
) -> None:
    service.faults.add(Fault("GET", r"/workspaces/loopback-ws$", code=403, times=None))
    found = examine()
    assert found["workspace"]["status"] == "FAIL"
    assert "this identity may not read it" in found["workspace"]["message"]
    assert f"az role assignment create --assignee {CLIENT} --role" in found["workspace"]["command"]
    assert {found[check]["message"] for check in OF_THE_WORKSPACE[2:]} == {"workspace failed"}


def test_workspace_that_is_not_there_is_told_from_one_that_may_not_be_read(
    examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZUREML_ARM_WORKSPACE_NAME", "no-such-workspace")
    found = examine()
    assert "no-such-workspace was not found" in found["workspace"]["message"]
    assert found["workspace"]["command"].startswith("az ml workspace list")


def test_token_that_has_ended_is_blamed_on_the_clock(examine: Examine, service: Service) -> None:
    service.identity.token_seconds = -1
    found = examine()
    assert "its token has ended already" in found["identity"]["message"]
    assert "clock" in found["identity"]["remedy"]
    assert {found[check]["message"] for check in OF_THE_WORKSPACE[1:]} == {"identity failed"}


def test_token_that_the_service_does_not_take_fails_the_workspace(examine: Examine, service: Service) -> None:
    service.faults.add(Fault("GET", r"/workspaces/loopback-ws$", kind="expired", times=None))
    found = examine()
    assert "does not take the token" in found["workspace"]["message"]
    assert "Sign in again" in found["workspace"]["remedy"]


@pytest.mark.parametrize("kind", ["expired", "reset", "status"])
def test_passing_trouble_is_no_finding(examine: Examine, service: Service, kind: Any) -> None:
    service.faults.add(Fault("GET", r"/workspaces/loopback-ws", kind=kind, retry_after=600, times=1))
    assert "FAIL" not in statuses(examine()).values()


def test_missing_compute_target_comes_with_those_that_exist_and_the_command_that_makes_it(
    examine: Examine, service: Service
) -> None:
    service.faults.add(Fault("GET", r"/computes/cpu-cluster-01$", code=404, times=None))
    found = examine()
    assert found["compute"]["status"] == "FAIL"
    assert "there is no cpu-cluster-01; the workspace has: cpu-cluster-01" in found["compute"]["message"]
    assert found["compute"]["command"] == "tandem compute create cpu-cluster-01"
    assert "2 nodes" in found["quota"]["message"]  # of the one that would be made


def test_compute_target_that_could_not_be_made_fails(examine: Examine, service: Service) -> None:
    with service.documents.change("computes", "cpu-cluster-01") as there:
        before = dict(there["properties"])
        there["properties"]["provisioningState"] = "Failed"
    found = examine()
    with service.documents.change("computes", "cpu-cluster-01") as there:
        there["properties"] = before
    assert found["compute"]["status"] == "FAIL"
    assert "ended as Failed" in found["compute"]["message"]


QUOTAS = {
    "family too small for one node": ({"standardDSv2Family": (0, 3)}, "FAIL", "takes 4, so no job can start"),
    "region too small for one node": ({"total": (0, 0)}, "FAIL", "0 of 0 cores in use (Total Cluster Dedicated"),
    "all in use": ({"standardDSv2Family": (22, 24)}, "warn", "jobs wait until others end"),
    "fewer nodes than the cluster may have": ({"standardDSv2Family": (0, 8)}, "warn", "so 2 of its 4 at most can run"),
    "no limit on the family": ({"standardDSv2Family": (0, -1)}, "ok", "4 of 100 cores in use (Total Cluster"),
}


@pytest.mark.parametrize(("quota", "status", "message"), QUOTAS.values(), ids=QUOTAS.keys())
def test_quota_is_the_one_that_is_nearest(
    examine: Examine, service: Service, quota: dict[str, tuple[int, int]], status: str, message: str
) -> None:
    service.computes.quota |= {(family, "dedicated"): amounts for family, amounts in quota.items()}
    found = examine()["quota"]
    assert (found["status"], message in found["message"]) == (status, True), found


def test_quota_that_may_not_be_asked_is_skipped(examine: Examine, service: Service) -> None:
    service.faults.add(Fault("GET", r"/usages$", code=403, times=None))
    found = examine()["quota"]
    assert (found["status"], "cannot be asked" in found["message"]) == ("skip", True)


def test_environment_and_data_that_are_there_are_told_from_those_that_a_run_would_make(
    examine: Examine, service: Service
) -> None:
    from azure.ai.ml import MLClient, load_data, load_environment
    from azure.identity import DefaultAzureCredential

    service.faults.add(Fault("GET", r"/(data|environments)/", code=404, times=None))
    found = examine()
    assert found["environment"]["message"].endswith("is not there yet; the first run makes it")
    assert found["data asset"]["message"] == (
        "diabetes-diagnostics:1 is not there yet; the first run makes it from data/"
    )
    service.faults.clear()
    name, _, version = found["environment"]["message"].split()[0].partition(":")
    workspace = service.workspace
    client = MLClient(DefaultAzureCredential(), workspace.subscription, workspace.resource_group, workspace.name)
    environment = load_environment(PROJECT / "environment" / "environment.yml")
    environment.name, environment.version = name, version
    client.environments.create_or_update(environment)
    client.data.create_or_update(load_data(PROJECT / "data" / "diabetes-diagnostics" / "data.yml"))
    found = examine()
    assert found["environment"]["message"] == f"{name}:{version}, as it is defined here"
    assert found["data asset"]["message"] == "diabetes-diagnostics:1 (uri_file) is the newest"


def test_checks_that_need_nothing_of_each_other_are_made_at_once(examine: Examine, service: Service) -> None:
    together = threading.Barrier(3, timeout=20)
    service.faults.add(Fault("GET", r"/(computes|environments|data)/", kind="call", action=together.wait, times=3))
    assert "FAIL" not in statuses(examine()).values()
    assert not together.broken


def test_one_check_that_gets_no_answer_holds_up_no_other_and_ends(
    examine: Examine, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.cli.doctor.workspace.IMPATIENT", {"retry_total": 0, "read_timeout": 2})
    service.faults.add(Fault("GET", r"/data/", kind="slow", seconds=5, times=None))
    found = examine()
    assert found["data asset"]["status"] == "FAIL"
    assert found["data asset"]["remedy"] == "It was reached, and is slow: try again in a while"
    assert [check for check, status in statuses(found).items() if status == "FAIL"] == ["data asset"]


def test_check_that_goes_on_for_too_long_is_given_up() -> None:
    from flows.cli.doctor.workspace import Checked, within

    async def never() -> Checked[None]:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    found = asyncio.run(within("quota", 0.01, never())).finding
    assert (found.status, found.message) == (Status.FAIL, "no answer within 0.01 s")


# Who we are


def test_dead_proxy_is_named_without_its_password(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://jane:password@127.0.0.1:1")
    found = examine()
    assert "Unable to connect to proxy" in found["identity"]["message"]
    assert "(http://127.0.0.1:1) runs" in found["identity"]["remedy"]
    assert "password" not in str(found)


def test_dead_proxy_is_named_where_signing_in_needs_none(
    examine: Examine, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_aside(monkeypatch)
    for name, value in service.managed_identity_environment.items():
        monkeypatch.setenv(name, "http://127.0.0.1:1" if name.lower() == "https_proxy" else value)
    found = examine()
    assert found["identity"]["status"] == "ok"
    assert "Unable to connect to proxy" in found["workspace"]["message"]
    assert "(http://127.0.0.1:1) runs" in found["workspace"]["remedy"]


def test_untrusted_certificate_is_told_from_a_dead_network(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    import certifi

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    assert "REQUESTS_CA_BUNDLE" in examine()["identity"]["remedy"]


def test_credential_that_is_refused_is_named_with_the_reason(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong")
    found = examine()["identity"]
    assert found["message"].startswith("EnvironmentCredential is set up here, and failed: ")
    assert "Invalid client secret" in found["message"]


@pytest.mark.parametrize("host", ["app service", "virtual machine"])
def test_managed_identity_that_is_not_known_is_told_from_none(
    examine: Examine, service: Service, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    set_aside(monkeypatch)
    for name, value in service.managed_identity_environment.items():
        monkeypatch.setenv(name, value)
    if host == "virtual machine":
        endpoint = os.environ["IDENTITY_ENDPOINT"].removesuffix("/_identity/token")
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", endpoint)
        monkeypatch.delenv("IDENTITY_ENDPOINT")
        monkeypatch.delenv("IDENTITY_HEADER")
    found = examine()["identity"]
    assert (found["status"], "ManagedIdentityCredential: " in found["message"]) == ("ok", True)
    assert service.count("GET", IMDS_PATH) == (1 if host == "virtual machine" else 0)
    monkeypatch.setenv("MANAGED_IDENTITY_CLIENT_ID", UNKNOWN)
    found = examine()["identity"]
    assert found["message"].startswith(f"this machine has no managed identity with the client id {UNKNOWN}")
    assert "az identity list" in found["command"]


def test_managed_identity_on_a_machine_that_has_none_is_told_from_one_that_is_not_known(
    examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_aside(monkeypatch)
    monkeypatch.setenv("MANAGED_IDENTITY_CLIENT_ID", UNKNOWN)
    found = examine()["identity"]
    assert "nothing on this machine hands out managed identities" in found["message"]
    assert "az login" in found["remedy"]


def test_managed_identity_that_another_credential_answers_in_place_of_is_a_warning(
    examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANAGED_IDENTITY_CLIENT_ID", UNKNOWN)
    found = examine()
    assert found["identity"]["status"] == "warn"
    assert "not the managed identity that MANAGED_IDENTITY_CLIENT_ID names" in found["identity"]["message"]
    assert found["workspace"]["status"] == "ok"


def test_no_credential_at_all_and_half_of_one(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    set_aside(monkeypatch)
    assert "no credential answered; tried: EnvironmentCredential, " in examine()["identity"]["message"]
    monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT)
    assert "lacks AZURE_TENANT_ID and AZURE_CLIENT_SECRET" in examine()["identity"]["message"]


# This machine


def test_without_a_workspace_its_checks_are_one_line_and_the_sdk_is_not_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from flows.cli.main import main; code = main(['doctor'])\n"
        "print(code, [name for name in sys.modules if name.startswith(('azure', 'prefect', 'mlflow'))])"
    )
    environment = {**os.environ, "TANDEM_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, env=environment, capture_output=True, text=True)
    *lines, summary, modules = filter(None, done.stdout.splitlines())
    assert [line.split()[0] for line in lines] == ["ok", "ok", "ok", "ok", "skip", "skip", "ok", "ok", "skip"]
    assert all(variable in lines[-1] for variable in ("local only", *WORKSPACE_VARIABLES))
    assert (summary, modules, done.stderr) == ("Nothing failed.", "0 []", "")
    assert "\033" not in done.stdout  # nobody looks at it in a terminal


def test_variables_of_which_some_are_missing_fail_and_all_missing_ones_are_named(
    examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZUREML_ARM_SUBSCRIPTION")
    monkeypatch.delenv("AZUREML_ARM_WORKSPACE_NAME")
    found = examine()
    assert found["variables"]["message"] == "AZUREML_ARM_SUBSCRIPTION, AZUREML_ARM_WORKSPACE_NAME are not set"
    assert {found[check]["status"] for check in OF_THE_WORKSPACE} == {"skip"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("AZUREML_ARM_SUBSCRIPTION", "My subscription"), ("MANAGED_IDENTITY_CLIENT_ID", "/subscriptions/x/identity")],
)
def test_name_in_place_of_an_id_is_a_warning(name: str, value: str) -> None:
    given = {**dict.fromkeys(WORKSPACE_VARIABLES, "x"), "AZUREML_ARM_SUBSCRIPTION": UNKNOWN}
    assert check_variables(Settings.from_environment(given)).status is Status.OK
    found = check_variables(Settings.from_environment({**given, name: value}))
    assert (found.status, value in found.message) == (Status.WARN, True)


def test_state_folder_that_cannot_be_made_or_written_fails(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for home, status in {
        tmp_path / "new" / "state": Status.OK,
        file / "state": Status.FAIL,
        Path("/proc/x"): Status.FAIL,
    }.items():
        assert check_state(Settings(PROJECT, home, {})).status is status
    assert sorted(tmp_path.iterdir()) == [file]


INSTALLED = {
    "prefect": "3.8.8",
    "azure-ai-ml": "1.35.2",
    "azure-identity": "1.27.0",
    "azureml-mlflow": "1.62.0.post6",
    "mlflow": "3.15.0",
    "fastapi": "0.152.0",
}
VERSIONS = {
    "azureml-mlflow": (
        "1.60.0",
        "azureml-mlflow is 1.60.0, and this project needs <2,>=1.62 (1.60 breaks with",
    ),
    "fastapi": ("0.160.0", "fastapi is 0.160.0, and this project needs <0.153,>=0.139 (others break Prefect's server)"),
    "mlflow": ("3.15.1", "mlflow is 3.15.1, and azureml-mlflow 1.62.0.post6 needs <=3.15.0"),
    "azure-ai-ml": (None, "azure-ai-ml is not installed, and this project needs"),
}


@pytest.mark.parametrize("name", VERSIONS)
def test_version_that_does_not_go_with_the_others_is_named_with_what_is_needed(name: str) -> None:
    version, message = VERSIONS[name]
    requirements = {
        "tandem-ml": ["azure-ai-ml>=1.35.2,<2", "azureml-mlflow>=1.62,<2", "mlflow>=3.15", "fastapi>=0.139,<0.153"],
        "azureml-mlflow": ["mlflow-skinny<=3.15.0", "mlflow-skinny<2; extra == 'old'", "azure-common"],
    }

    def findings(versions: Mapping[str, str | None]) -> list[Finding]:
        return version_findings(versions.get, lambda name: requirements[name])

    assert [finding.status for finding in findings(INSTALLED)] == [Status.OK]
    (found,) = findings({**INSTALLED, name: version})
    assert (found.status, found.command) == (Status.FAIL, "make env")
    assert found.message.startswith(message)


# Prefect


def check_prefect(project: Path) -> list[Finding]:
    from flows.cli.doctor.prefect_api import check_prefect

    return asyncio.run(check_prefect(Settings(project, project / "home", {})))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    deployments = "".join(f"- {{name: {name}, work_pool: {{name: machines-of-{tmp_path.name}}}}}\n" for name in "ab")
    (tmp_path / "prefect.yaml").write_text(f"deployments:\n{deployments}")
    return tmp_path


def test_api_and_its_version_are_found(prefect_api: str, tmp_path: Path) -> None:
    api, pool, messages = check_prefect(tmp_path)
    assert (api.status, pool.status, messages.status) == (Status.OK, Status.SKIP, Status.OK)
    assert api.message.startswith(f"{prefect_api} (configured), Prefect 3.")
    assert "there is no prefect.yaml" in pool.message


def test_api_of_make_serve_is_found_without_being_configured(
    prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL")
    (tmp_path / "home" / "prefect").mkdir(parents=True)
    (tmp_path / "home" / "prefect" / "served.json").write_text(json.dumps({"url": prefect_api}))
    assert check_prefect(tmp_path)[0].message.startswith(f"{prefect_api} (of make ui), Prefect 3.")


def test_api_that_does_not_answer_fails(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.setenv("PREFECT_API_URL", "http://jane:password@127.0.0.1:1/api")
    with temporary_settings({PREFECT_API_URL: os.environ["PREFECT_API_URL"]}):
        api, pool, messages = check_prefect(project)
    assert (api.status, pool) == (Status.FAIL, skip("work pool", "prefect api failed"))
    assert messages == skip("messages", "prefect api failed")
    assert "http://127.0.0.1:1/api (configured) does not answer" in api.message
    assert "password" not in api.message
    assert api.command == "unset PREFECT_API_URL"


def test_work_pool_of_the_deployments_is_missing_then_without_a_worker_then_served(
    prefect_api: str, project: Path
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate

    name = f"machines-of-{project.name}"
    (missing,) = check_prefect(project)[1:-1]
    assert (missing.status, missing.command) == (Status.FAIL, f"prefect work-pool create {name} --type process")
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    (idle,) = check_prefect(project)[1:-1]
    assert (idle.status, idle.command) == (Status.WARN, f"prefect worker start --pool {name}")

    async def heartbeat() -> None:
        async with get_client() as client:
            await client.send_worker_heartbeat(name, f"worker-{uuid4()}", heartbeat_interval_seconds=30)

    asyncio.run(heartbeat())
    (served,) = check_prefect(project)[1:-1]
    assert served.status is Status.OK
    assert "online: worker-" in served.message


def test_broken_prefect_yaml_is_a_finding(prefect_api: str, tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").write_text("deployments: [")
    assert check_prefect(tmp_path)[1].status is Status.FAIL


# How it is shown

LONG = fail(
    "compute",
    "there is no cpu-cluster-01; the workspace has: " + ", ".join(f"cluster-{number}" for number in range(20)),
    "Make it, or choose another one with --compute_name, or ask somebody who may make one to make it for you",
    "tandem compute create",
)


def test_finding_is_one_line_where_nobody_looks_at_a_terminal() -> None:
    assert finding_as_text(ok("disk", "1 GiB\nfree")) == "  ok    disk         1 GiB free"
    text = finding_as_text(LONG)
    assert "\n" not in text and text.endswith("make it for you: tandem compute create")


@pytest.mark.parametrize("width", [80, 120])
def test_finding_is_wrapped_to_the_terminal_but_a_command_is_left_whole(width: int) -> None:
    command = "az role assignment create " + "x" * 200
    lines = finding_as_text(Finding(LONG.check, LONG.status, LONG.message, LONG.remedy, command), width).splitlines()
    assert lines[-1].strip() == command
    assert all(len(line) <= width for line in lines[:-1])
    assert lines[0].startswith("  FAIL  compute      there is no")
    assert all(line.startswith(" " * 21) for line in lines[1:])


def test_colour_is_only_where_it_is_asked_for() -> None:
    assert "\033[31mFAIL\033[0m" in finding_as_text(LONG, 80, colour=True)
    assert "\033" not in finding_as_text(LONG, 80)
