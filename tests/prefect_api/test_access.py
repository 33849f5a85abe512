"""Commands at a Prefect API that asks for a credential: without one, with a wrong one, with the right one."""

import base64
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from flows.errors import ServiceError, SettingsError
from flows.prefect_api import access
from flows.prefect_api.access import check_access, split_credential, why_no_access
from flows.prefect_api.server import PrefectApi, use_prefect_api
from flows.settings import Settings
from tests.terminal import JOB, PIPELINE, PROJECT, Terminal

CREDENTIAL = "team:correct-horse"
WRONG = "team:battery-staple"
TRAINING = """
type: command
environment: azureml:diabetes-classify@latest
command: echo done
"""
ASKS = "asks for a credential, and none is set (401)"
REFUSES = "refuses the credential in PREFECT_API_AUTH_STRING (401)"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectApi]:
    """A real Prefect server with basic authentication, as a command starts it whose environment asks for that."""
    settings = Settings.from_environment({"TANDEM_HOME": str(tmp_path_factory.mktemp("guarded"))})
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
            patch.setenv(name, "")  # which is taken back at the end, whatever it has become
        patch.setenv("PREFECT_HOME", os.environ["PREFECT_HOME"])
        patch.setenv("PREFECT_SERVER_API_AUTH_STRING", CREDENTIAL)
        api = use_prefect_api(settings)
        api.wait_until_ready()
        assert os.environ["PREFECT_API_AUTH_STRING"] == CREDENTIAL
    assert api.child is not None
    yield api
    api.child.end()


@pytest.fixture
def guarded(own: PrefectApi) -> str:
    """Its address."""
    return own.url


def commands(folder: Path) -> Mapping[str, list[str]]:
    """Every command that speaks with the API, by what a person types."""
    job = folder / "job.yml"
    job.write_text(TRAINING, encoding="utf-8")
    return {
        "make deploy": [sys.executable, "-m", "deployments.deploy", "deploy"],
        "make worker": [sys.executable, "-m", "deployments.deploy", "worker"],
        "tandem run": [sys.executable, "-m", "flows", "run", str(job)],
        "tandem doctor": [sys.executable, "-m", "flows", "doctor"],
        "create_aml_pipeline_train": [sys.executable, str(PIPELINE), "--evaluation_output", str(folder / "evaluation")],
        "create_aml_experiment_job_train": [
            sys.executable,
            str(JOB),
            "--evaluation_output",
            str(folder / "evaluation"),
        ],
    }


COMMANDS = tuple(commands(Path("/tmp")))


def run(folder: Path, command: str, api: str, credential: str) -> "subprocess.CompletedProcess[str]":
    environment = {**Terminal(folder, api).environment, "NO_PROXY": "", "COLUMNS": "500"}
    if credential:
        environment["PREFECT_API_AUTH_STRING"] = credential
    words = commands(folder)[command]
    return subprocess.run(words, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=240)


def secrets_of(credential: str) -> set[str]:
    """What a credential looks like, as it is and in a header."""
    return {credential.partition(":")[2], base64.b64encode(credential.encode()).decode()}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("credential", "said"), [("", ASKS), (WRONG, REFUSES)], ids=["none", "wrong"])
def test_command_without_the_right_credential_ends_with_one_sentence_that_doctor_says_too(
    guarded: str, tmp_path: Path, command: str, credential: str, said: str
) -> None:
    done = run(tmp_path, command, guarded, credential)
    everything = done.stdout + done.stderr
    assert said in everything
    assert done.returncode == (1 if command == "tandem doctor" else 2)
    assert "Traceback" not in everything
    assert "PREFECT_API_AUTH_STRING=NAME:PASSWORD" in everything
    assert not any(secret in everything for secret in secrets_of(WRONG))
    if command != "tandem doctor":
        assert done.stderr.count("\n") == 1


def kept_in(folder: Path, secrets: set[str]) -> list[Path]:
    """The files below a folder that have one of these in them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if any(secret.encode() in path.read_bytes() for secret in secrets)]


def test_credential_in_the_address_is_taken_and_is_neither_printed_nor_kept(guarded: str, tmp_path: Path) -> None:
    address = guarded.replace("http://", "http://team:correct%2Dhorse@")
    done = run(tmp_path, "tandem run", address, "")
    assert done.returncode == 0, done.stderr
    secrets = secrets_of(CREDENTIAL) | {"correct%2Dhorse"}
    assert not any(secret in done.stdout + done.stderr for secret in secrets)
    assert kept_in(tmp_path, secrets) == []
    done = run(tmp_path, "make worker", guarded.replace("http://", f"http://{WRONG}@"), "")
    assert done.returncode == 2
    assert f"The Prefect API at {guarded} refuses the credential in PREFECT_API_URL (401)" in done.stderr
    assert "battery-staple" not in done.stdout + done.stderr


def test_command_that_starts_a_server_of_its_own_is_let_in_by_it(own: PrefectApi, alone: Path) -> None:
    assert why_no_access(own.url) is not None
    assert why_no_access(own.url, own.credential) is None
    assert "correct-horse" not in repr(own)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and Prefect home, with no proxy between."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path


def test_credential_of_the_active_profile_is_taken(guarded: str, alone: Path) -> None:
    profile = f'active = "team"\n[profiles.team]\nPREFECT_API_AUTH_STRING = "{CREDENTIAL}"\n'
    (alone / "profiles.toml").write_text(profile.replace("horse", "cow"), encoding="utf-8")
    with pytest.raises(SettingsError, match="refuses the credential in PREFECT_API_AUTH_STRING"):
        check_access(guarded)
    (alone / "profiles.toml").write_text(profile, encoding="utf-8")
    check_access(guarded)


@pytest.mark.parametrize("name", ["prefect.toml", ".env", "pyproject.toml"])
def test_what_only_prefect_reads_is_left_to_prefect(guarded: str, alone: Path, name: str) -> None:
    assert why_no_access(guarded) is not None
    (alone / name).write_text("[tool.prefect]  # PREFECT_", encoding="utf-8")
    assert why_no_access(guarded) is None


def test_server_that_takes_connections_and_does_not_answer_is_told(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        with pytest.raises(ServiceError, match=r"does not answer: nothing within 0\.2 s\. Nothing was run\. Start"):
            check_access(url)


@pytest.mark.parametrize("address", ["team:secret@host:4200/api", "http://[::1/secret", "ftp://team:secret@host/api"])
def test_what_is_no_address_is_refused_without_being_told(address: str) -> None:
    with pytest.raises(SettingsError, match="PREFECT_API_URL is no address of a server") as refused:
        split_credential(address)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("command", ["make deploy", "make worker"])
def test_command_that_is_of_no_use_without_a_server_is_not_told_to_go_without(tmp_path: Path, command: str) -> None:
    done = run(tmp_path, command, "http://127.0.0.1:9/api", "")
    assert done.returncode == 3
    assert "127.0.0.1:9/api does not answer: " in done.stderr and "Nothing was run." in done.stderr
    assert "Start that server, or name another: export PREFECT_API_URL=http://HOST:4200/api\n" in done.stderr
    assert "unset" not in done.stderr and done.stderr.count("\n") == 1
