"""``tandem serve``: a registered model answers until Ctrl+C, and leaves nothing."""

import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from flows.cli.serve import how_to_call
from flows.machine.living import has_entries
from flows.prefect_api.server import free_port
from flows.serving.endpoints import ServedModel
from tests.cli.shipped_champion import make_champion
from tests.processes import commands_with
from tests.terminal import PROJECT, Terminal


def typed(terminal: Terminal, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "flows", "serve", *words]
    return subprocess.run(command, env=terminal.environment, capture_output=True, text=True, cwd=PROJECT)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["a b"], 2, "'a b' is no model. Write NAME, NAME:VERSION or NAME@ALIAS."),
        (["diabetes-predict:new"], 2, "is no model"),
        (["diabetes-predict"], 2, "There is no model diabetes-predict@champion in sqlite:///"),
        (["churn"], 2, "make one the champion (tandem promote churn:VERSION --reason TEXT)"),
        (["diabetes-predict", "--deployment", "gone.yml"], 2, "gone.yml is missing"),
        (["diabetes-predict", "--port", "0"], 2, "'0' is no port"),
    ],
)
def test_what_cannot_be_served_is_told_and_starts_nothing(
    tmp_path: Path, words: list[str], code: int, told: str
) -> None:
    done = typed(Terminal(tmp_path, None), *words)
    assert (done.returncode, told in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr
    assert not (tmp_path / "state").exists()


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = typed(Terminal(tmp_path, None), "diabetes-predict", "--port", str(port))
    assert (done.returncode, f"Port {port} is taken" in done.stderr) == (3, True)


def test_the_call_that_is_shown_has_a_made_up_row_and_no_key(tmp_path: Path) -> None:
    inputs = json.dumps([{"name": "Age", "type": "any"}, {"name": "Ward", "type": "string"}])
    (tmp_path / "MLmodel").write_text(f"signature:\n  inputs: '{inputs}'\n")
    address = "http://127.0.0.1:5001/endpoints/patients/score"
    said = how_to_call(ServedModel("patients", 3, ""), "patients", address, tmp_path)
    assert f"patients:3 answers at {address}" in said
    assert '{"input_data": [{"Age": 1, "Ward": "text"}]}' in said
    assert "$(tandem endpoints key patients)" in said


@pytest.mark.slow
def test_the_champion_answers_until_ctrl_c_and_nothing_is_left(trained: Path, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, None)
    home = tmp_path / "state"
    make_champion(home, trained)
    port = free_port()
    command = [sys.executable, "-m", "flows", "serve", "diabetes-predict", "--port", str(port)]
    with subprocess.Popen(
        command, env=terminal.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        said = ""
        while "Ctrl+C" not in said:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            said += line
        try:
            address = f"http://127.0.0.1:{port}/endpoints/diabetes-predict/score"
            assert f"  diabetes-predict:1 answers at {address}\n" in said
            found = re.search(r"-d '(.*)'", said)
            assert found is not None
            key = (home / "serving" / "diabetes-predict" / "key").read_text().strip()
            answer = httpx.post(address, content=found[1], headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == 200, answer.text
            assert (answer.json()["model"], answer.json()["version"]) == ("diabetes-predict", 1)
            assert 0 <= answer.json()["predictions"][0]["probability"] <= 1
            assert key not in said
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(60)
    assert code == 0
    for _ in range(100):
        if not commands_with(str(home)):
            break
        signal.sigtimedwait([], 0.1)
    assert not commands_with(str(home)) and not has_entries(home)
    assert not (home / "serving" / "diabetes-predict").exists()
