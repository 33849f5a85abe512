"""A step sees no secret of who runs it: not in its environment, nor in that of the processes that started it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from flows.engines.local.step_variables import PASS, is_secret, passed_on, wanted
from flows.machine.hidden_memory import ALLOW
from tests.processes import without_ptrace
from tests.terminal import Terminal

SECRETS = (
    *("AZURE_CLIENT_SECRET", "AZURE_CLIENT_ID", "AZURE_STORAGE_KEY", "ARM_ACCESS_KEY", "IDENTITY_HEADER", "MSI_SECRET"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS"),
    *("PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT__CONTROL_TOKEN", "AZUREML_RUN_TOKEN"),
    *(
        "MLFLOW_TRACKING_USERNAME",
        "MLFLOW_TRACKING_PASSWORD",
        "MLFLOW_TRACKING_TOKEN",
        "MLFLOW_FLASK_SERVER_SECRET_KEY",
    ),
    *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY", "WANDB_API_KEY", "GH_PAT", "GITHUB_TOKEN", "NPM_AUTH"),
    *("PGPASSWORD", "PGPASSFILE", "MYSQL_PWD", "REDISCLI_AUTH", "SSH_AUTH_SOCK", "SSH_ASKPASS", "NETRC", "KUBECONFIG"),
    *(
        "DATABASE_URL",
        "APP_DB_URI",
        "MONGODB_URI",
        "SENTRY_DSN",
        "APPLICATIONINSIGHTS_CONNECTION_STRING",
        "SQL_CONN_STR",
    ),
    *("SMTP_PASS", "smtp_password", "dbPassword", "apiKey", "SIGNING_KEY", "PRIVATE_KEYS", "SLACK_WEBHOOK_URL"),
    *("SERVICE_CREDENTIALS", "SESSION_COOKIE", "DATABRICKS_HOST", "VAULT_ADDR", "STORAGE_SAS", "MY_SECRETS_FILE"),
)
NEEDED = {
    "PATH": "/usr/bin",
    "PWD": "/work",
    "HOME": "/home/x",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "https_proxy": "http://user:password@proxy:8080",
    "NO_PROXY": "localhost",
    "LD_LIBRARY_PATH": "/usr/local/cuda/lib64",
    "CUDA_VISIBLE_DEVICES": "0",
    "OMP_NUM_THREADS": "2",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HOME": "/cache",
    "REQUESTS_CA_BUNDLE": "/etc/ca.pem",
    "SSL_CERT_FILE": "/etc/ca.pem",
    "PYTHONHASHSEED": "0",
    "PIP_INDEX_URL": "https://packages.example/simple",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MY_DATA_ROOT": "/data",
    "TANDEM_HOME": "/state",
    "XAUTHORITY": "/x",
    "MONKEYPATCHED": "1",
}
VALUES = (
    *(
        "postgresql://user:password@host/db",
        "https://:token@packages.example/simple",
        "https://a.example/x?sv=1&sig=abc",
    ),
    *("DefaultEndpointsProtocol=https;AccountName=a;AccountKey=abc==", "Server=x;User Id=y;Password=z"),
    *("-----BEGIN OPENSSH PRIVATE KEY-----\nabc", "ghp_0123456789", "eyJhbGciOi.eyJzdWIi.c2ln", "hf_abcdef"),
)


@pytest.mark.parametrize("name", SECRETS)
def test_variable_with_the_name_of_a_secret_is_withheld(name: str) -> None:
    assert passed_on({name: "x"}) == {}


@pytest.mark.parametrize("value", VALUES)
def test_variable_with_the_value_of_a_secret_is_withheld(value: str) -> None:
    assert passed_on({"SETTING": value}) == {}


def test_what_a_step_needs_is_passed_on() -> None:
    assert passed_on(NEEDED) == NEEDED


def test_what_is_named_on_purpose_is_passed_on() -> None:
    environment = dict.fromkeys(SECRETS, "x") | {PASS: " HF_TOKEN, AWS_* "}
    assert {name for name in passed_on(environment) if name != PASS} == {
        name for name in SECRETS if name == "HF_TOKEN" or name.startswith("AWS_")
    }


def test_step_that_tracks_into_a_workspace_has_what_signs_it_in_and_no_more() -> None:
    environment = dict.fromkeys((*SECRETS, "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE", "IDENTITY_ENDPOINT"), "x")
    assert passed_on(environment, "azureml").keys() == {
        *("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"),
        *("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_SECRET"),
    }


def test_value_of_any_length_is_looked_at_in_little_time() -> None:
    for text in ("://" * 300_000, "://" + "a:" * 300_000, "Password " * 100_000, "-----BEGIN " * 100_000):
        assert not is_secret("SETTING", text)


def test_failed_step_is_told_which_variable_was_withheld() -> None:
    told = wanted(["Traceback", "KeyError: 'HF_TOKEN'"], {"HF_TOKEN": "x", "HOME": "/home/x"})
    assert told.endswith(f'export {PASS}="HF_TOKEN"')
    assert wanted(["KeyError: 'HOME'"], {"HOME": "/home/x"}) == ""


SEES = """
    import json, os, pathlib, sys

    seen = {"own": dict(os.environ), "others": {}, "unreadable": 0}
    for process in pathlib.Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                found = (process / "environ").read_bytes().decode(errors="replace")
                memory = open(process / "mem", "rb").close()
            except OSError:
                seen["unreadable"] += 1
            else:
                seen["others"][process.name] = found
    text = json.dumps(seen)
    print(text)
    pathlib.Path(sys.argv[1]).write_text(text)
    """
JOB = """
    type: pipeline
    settings: {{default_compute: azureml:c}}
    outputs: {{forked: {{type: uri_file, path: ./forked.json}}, shell: {{type: uri_file, path: ./shell.json}}}}
    jobs:
      forked: {{type: command, environment: azureml:e:1, code: ./code, {of}, {out}}}
      shell: {{type: command, environment: azureml:e:1, code: ./code, {of_shell}, {out_shell}}}
    """


def canaries_seen(terminal: Terminal, folder: Path, environment: Mapping[str, str]) -> dict[str, list[str]]:
    """Run a job whose two steps look around, and return the canaries that they and the files of the state have.

    Every process is as an ordinary user's, which may not look into what is hidden.
    """
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "main.py").write_text(dedent(SEES))
    command = "python main.py ${{outputs.out}}"
    job = JOB.format(
        of=f"command: '{command}'",
        of_shell=f"command: 'true; {command}'",
        out="outputs: {out: '${{parent.outputs.forked}}'}",
        out_shell="outputs: {out: '${{parent.outputs.shell}}'}",
    )
    (folder / "job.yml").write_text(dedent(job))
    words = [sys.executable, "-m", "flows", "run", str(folder / "job.yml"), "--output-dir", str(folder / "out")]
    inherited = {name: value for name, value in terminal.environment.items() if name != ALLOW}
    done = subprocess.run(
        without_ptrace(words), cwd=folder, env={**inherited, **environment}, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr.decode()
    files = [path for path in (*terminal.home.rglob("*"), *folder.rglob("*")) if path.is_file()]
    files = [path for path in files if "code" not in path.parts]
    texts = {str(path): path.read_bytes() for path in files} | {"terminal": done.stdout + done.stderr}
    assert any(path.endswith("/mlflow.db") for path in texts)
    for name in ("forked", "shell"):
        seen = json.loads((folder / f"{name}.json").read_text())
        assert seen["own"]["MY_DATA_ROOT"] == "not-secret"
        assert any("MY_DATA_ROOT" in found for found in seen["others"].values())  # it does look at other processes
    return {
        name: sorted(where for where, text in texts.items() if value.encode() in text)
        for name, value in environment.items()
    }


@pytest.mark.slow
def test_no_canary_reaches_a_step_a_log_a_record_or_an_artifact(tmp_path: Path) -> None:
    """With a Prefect server of the command's own, which is one of the ancestors."""
    canaries = {name: f"canary-{number}-of" for number, name in enumerate(SECRETS) if not name.startswith("PREFECT_")}
    # What Prefect and ssh would take for real is given as they write it.
    canaries |= {
        "PREFECT_API_KEY": "canary-prefect",
        "SSH_AUTH_SOCK": "/canary/agent",
        "KEYLESS": "https://u:canary-u@h/",
    }
    terminal = Terminal(tmp_path / "home", None)
    terminal.home.mkdir()
    seen = canaries_seen(terminal, tmp_path / "project", {**canaries, "MY_DATA_ROOT": "not-secret"})
    assert seen.pop("MY_DATA_ROOT")  # the search finds what is there
    assert {name: where for name, where in seen.items() if where} == {}


def test_no_secret_of_a_command_is_in_what_its_steps_see(prefect_api: str, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", prefect_api)
    terminal.home.mkdir()
    secrets = {"AZURE_CLIENT_SECRET": "canary-1", "MLFLOW_TRACKING_PASSWORD": "canary-2", "HF_TOKEN": "canary-3"}
    named = {"MY_DATA_ROOT": "not-secret", PASS: "HF_TOKEN"}
    seen = canaries_seen(terminal, tmp_path / "project", {**secrets, **named})
    assert (seen["AZURE_CLIENT_SECRET"], seen["MLFLOW_TRACKING_PASSWORD"]) == ([], [])
    assert seen["HF_TOKEN"]  # passed on, on purpose


DUMPABLE = """
import ctypes
from flows.machine.hidden_memory import hide_memory

hide_memory()
print(ctypes.CDLL(None).prctl(3))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a mark of Linux")
@pytest.mark.parametrize(("given", "dumpable"), [({}, "0"), ({ALLOW: "1"}, "1")])
def test_process_is_marked_unless_debuggers_are_let_in(given: Mapping[str, str], dumpable: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != ALLOW}
    done = subprocess.run(
        [sys.executable, "-c", DUMPABLE], env={**environment, **given}, capture_output=True, text=True
    )
    assert done.stdout.strip() == dumpable
