"""``tandem run FILE --engine azureml``: YAML that Tandem has never seen, from the command line to the output folder."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.azure_ml_service.faults import JobFault
from tests.azure_ml_service.service import Service
from tests.terminal import Terminal

pytestmark = pytest.mark.slow

TANDEM = Path(sys.executable).with_name("tandem")
DEADLINE_SECONDS = 240
FILES = {
    "pipeline.yml": """
        type: pipeline
        display_name: Any pipeline
        settings: {default_compute: azureml:cpu-cluster-01}
        inputs:
          rows: {type: uri_file, path: ./rows.csv}
          word: not this
        outputs: {joined: {type: uri_folder}, counted: {type: uri_file}}
        jobs:
          count:
            component: ./count.yml
            inputs: {rows: "${{parent.inputs.rows}}"}
            outputs: {counted: "${{parent.outputs.counted}}"}
          join:
            type: command
            environment: {image: "ubuntu:22.04"}
            inputs: {counted: "${{parent.jobs.count.outputs.counted}}", word: "${{parent.inputs.word}}"}
            outputs: {joined: "${{parent.outputs.joined}}"}
            command: echo "$(cat ${{inputs.counted}}) ${{inputs.word}}" > ${{outputs.joined}}/said
    """,
    "count.yml": """
        type: command
        name: count
        environment: {image: "ubuntu:22.04"}
        code: ./code
        inputs: {rows: {type: uri_file}}
        outputs: {counted: {type: uri_file}}
        command: bash count.sh ${{inputs.rows}} ${{outputs.counted}}
    """,
    "code/count.sh": "grep -c . $1 > $2\n",
    "rows.csv": "a\nb\nc\n",
    "job.yml": """
        type: command
        environment: {image: "ubuntu:22.04"}
        compute: azureml:cpu-cluster-01
        inputs: {word: not this, rows: {type: uri_file, path: ./rows.csv}}
        outputs: {out: {type: uri_folder}}
        command: echo "${{inputs.word}}" > ${{outputs.out}}/said; cat ${{inputs.rows}} >> ${{outputs.out}}/said
    """,
    "hangs.yml": """
        type: command
        display_name: hangs
        environment: {image: "ubuntu:22.04"}
        compute: azureml:cpu-cluster-01
        command: sleep 1000
    """,
}


class Tandem(Terminal):
    """Runs ``tandem``, several at once, and leaves none behind."""

    def __init__(self, home: Path, prefect_api: str, environment: Mapping[str, str]) -> None:
        super().__init__(home, prefect_api)
        self.environment |= environment
        self.started: list[subprocess.Popen[str]] = []

    def start(self, file: str, *flags: str) -> "subprocess.Popen[str]":
        words = [str(TANDEM), "run", str(self.home / file), "--engine", "azureml", *flags]
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = subprocess.Popen(words, env=self.environment, cwd=self.home, **pipes)
        self.started.append(command)
        return command

    def stop(self) -> None:
        for command in self.started:
            command.kill()
            command.communicate()


def end(command: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = command.communicate(timeout=DEADLINE_SECONDS)
    return command.returncode, out, err


@pytest.fixture
def tandem(tmp_path: Path, prefect_api: str, azure_ml: Service) -> Iterator[Tandem]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(dedent(text), encoding="utf-8")
    tandem = Tandem(tmp_path, prefect_api, azure_ml.environment)
    yield tandem
    tandem.stop()


def test_pipeline_started_twice_at_once_leaves_its_outputs_where_each_was_asked_to(
    tandem: Tandem, azure_ml: Service
) -> None:
    """A local data file, a component with code, a command in place, a new value: all that is not in the workspace."""
    flags = ("--set", "inputs.word=rows", "--json", "--output-dir")
    commands = {name: tandem.start("pipeline.yml", *flags, str(tandem.home / name)) for name in ("one", "two")}

    names: set[str] = set()
    for name, command in commands.items():
        code, out, err = end(command)
        assert code == 0, err
        found = json.loads(out)
        names.add(found["job_name"])
        assert found["status"] == "Completed"
        assert {step["name"]: step["status"] for step in found["steps"]} == dict.fromkeys(
            ("count", "join"), "Completed"
        )
        outputs = tandem.home / name / "outputs"
        assert (outputs / "joined" / "said").read_text() == "3 rows\n"
        assert (outputs / "counted").read_text() == "3\n"
        assert found["outputs"] == {name: str(outputs / name) for name in ("joined", "counted")}
        logs = [tandem.home / name / "steps" / step / "logs" / "std_log.txt" for step in ("count", "join")]
        assert [step["log"] for step in found["steps"]] == [str(log) for log in logs]
        assert all(log.is_file() for log in logs)
        assert json.loads((tandem.home / name / "job.json").read_text()) == found
    assert len(names) == 2
    assert not azure_ml.violations


def test_command_job_completes_and_one_that_is_canceled_in_studio_says_so(tandem: Tandem, azure_ml: Service) -> None:
    azure_ml.faults.add(JobFault("hang", job="hangs-.*"))
    hangs = tandem.start("hangs.yml")
    job = tandem.start("job.yml", "--set", "inputs.word=it's new", "--output-dir", str(tandem.home))
    name = running_job(azure_ml, "hangs-")
    azure_ml.runner.cancel(name)

    code, out, err = end(job)
    assert code == 0, err
    assert (tandem.home / "outputs" / "out" / "said").read_text() == "it's new\na\nb\nc\n"
    assert out.startswith("Engine: azureml (workspace ")
    code, out, err = end(hangs)
    assert code == 130
    assert re.search(f"Error: The job {name} was canceled, .*not by this run", err)
    assert "Traceback" not in err
    assert azure_ml.count("POST", f"/jobs/{name}/cancel") == 0


def running_job(service: Service, prefix: str) -> str:
    """The name of the job that begins so, once it runs."""
    for _ in range(DEADLINE_SECONDS * 20):
        found = [name for name, job in service.jobs.items() if name.startswith(prefix) and job["status"] == "Running"]
        if found:
            return found[0]
        time.sleep(0.05)
    raise TimeoutError(prefix)
