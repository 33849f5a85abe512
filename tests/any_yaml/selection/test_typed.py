"""``tandem run --only``, ``--from`` and ``--resume`` as a person types them, on this machine."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.any_yaml.selection.test_parts_on_engines import three_steps
from tests.azure_ml_service.faults import JobFault
from tests.azure_ml_service.service import Service
from tests.conftest import Write
from tests.waiting import until

TANDEM = Path(sys.executable).with_name("tandem")


class Typed:
    """A pipeline of three steps in a folder, and the commands that are typed there."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = environment

    @property
    def jobs(self) -> Path:
        return Path(self.environment["TANDEM_HOME"]) / "jobs"

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [TANDEM, *words],
            cwd=self.folder,
            env=dict(self.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def type(self, *words: str, code: int = 0) -> tuple[str, str]:
        """Run a command that must end with this exit code. Returns what it prints, on either stream."""
        command = self.start(*words)
        out, err = command.communicate(timeout=200)
        assert command.returncode == code, out + err
        assert "Traceback" not in out + err
        return out, err

    def ran(self) -> dict[str, int]:
        return {file.stem: len(file.read_text().split()) for file in sorted(self.folder.glob("*.ran"))}

    def allow(self, step: str) -> None:
        (self.folder / f"{step}.ok").touch()


@pytest.fixture
def typed(write: Write, home: Path) -> Typed:
    folder = home.parent
    write(three_steps(folder))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return Typed(folder, {**environment, "TANDEM_HOME": str(home)})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run"], "Name what to run: tandem run FILE.yml, or tandem run --resume JOB after a job that has failed."),
        (["run", "--resume", "j"], "--resume j: this machine has no record of a job j. Nothing was run."),
        (["run", "job.yml", "--only", "trian"], "--only trian: job.yml has no step trian. Did you mean train?"),
        (["run", "job.yml", "--job", "j"], "--job j names the job whose outputs the steps of --only or --from read."),
        (["run", "job.yml", "--only", "a", "--from", "b"], "argument --from: not allowed with argument --only"),
        (["run", "job.yml", "--only", "a", "--resume", "b"], "argument --resume: not allowed with argument --only"),
        (["run", "job.yml", "--only", "train"], "train.rows reads the output rows of the step prep, and no job of job"),
        (["run", "job.yml", "--only", "train", "--job", "../x"], "--job ../x: there is no job ../x where this runs."),
        (["plan", "job.yml", "--from", "train"], "Run that step first: tandem run"),
        (["plan", "job.yml", "--only", "prep", "--against", "."], "--against compares the whole job. Leave out --only"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_flags_end_with_exit_code_2_before_anything_is_started(typed: Typed, words: list[str], said: str) -> None:
    assert said in typed.type(*words, code=2)[1]
    assert not typed.jobs.exists()


def failed_job(typed: Typed, engine: str = "local") -> str:
    """The name of a job whose second step has failed, as its outcome tells it."""
    out, _ = typed.type("run", "job.yml", "--force-rerun", "--engine", engine, code=1)
    found = re.search(r"Go on after it:  tandem run --resume (\S+)", out)
    assert found is not None, out
    return found[1]


@pytest.mark.slow
def test_failed_job_is_gone_on_with_by_its_name_alone_with_what_it_was_submitted_with(
    typed: Typed, prefect_api: str
) -> None:
    name = failed_job(typed)
    file = (typed.folder / "job.yml").read_text()

    out, _ = typed.type("state", "check")
    assert f"1 failed and can be gone on with, the newest by: tandem run --resume {name}" in " ".join(out.split())
    _, err = typed.type("run", "--resume", name, "--set", "word=other", "--python", "x", code=2)
    assert f"--resume {name}: the job goes on with what it was submitted with: {typed.folder}/job.yml on the" in err
    assert "Leave out --set and --python, or run it anew: tandem run" in err
    (typed.folder / "job.yml").write_text(file.replace("first title", "second title"))
    _, err = typed.type("run", "--resume", name, code=2)
    assert "what the job was made from has changed since: inputs.title, job.yml (beside " in err
    (typed.folder / "job.yml").write_text(file)
    assert typed.ran() == {"prep": 1, "train": 1}

    typed.allow("train")
    typed.allow("report")
    outcome = json.loads(typed.type("run", "--resume", name, "--output-dir", "out", "--json")[0])
    assert typed.ran() == {"prep": 1, "train": 2, "report": 1}
    assert outcome["job_name"] == f"{name}-s1"
    assert [(step["name"], step["reused"]) for step in outcome["steps"]] == [
        ("prep", True),
        ("train", False),
        ("report", False),
    ]
    assert json.loads((typed.folder / "out" / "job.json").read_text())["tags"]["tandem.resumes"] == name
    assert (typed.folder / "out" / "outputs" / "rows").read_text().startswith("word of ")

    out, _ = typed.type("why", "prep")
    assert f"prep had finished before {name}-s1, which goes on after {name}." in out
    assert f"prep ran in {name} (Completed after" in out
    assert f"The job {name}-s1 goes on after {name}." in typed.type("why", "train", "--job", name)[0]
    plan = json.loads(typed.type("plan", "job.yml", "--only", "report", "--set", "title=new", "--json")[0])
    assert [(step["name"], step["plan"]) for step in plan["steps"]] == [("report", "run")]
    out, _ = typed.type("plan", "job.yml", "--from", "train", "--job", f"{name}-s1")
    assert out.rstrip().endswith(f"tandem run job.yml --from train --job {name}-s1")


def is_begun(typed: Typed, job: str) -> bool:
    return (typed.jobs / job / "submitted.json").is_file()


def runs_a_step(typed: Typed, job: str) -> bool:
    return typed.ran()["train"] == 2


def has_ended(typed: Typed, job: str) -> bool:
    return (typed.jobs / job / "job.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("moment", [is_begun, runs_a_step, has_ended])
def test_resumption_that_is_killed_and_typed_again_is_one_job_that_runs_no_finished_step(
    typed: Typed, prefect_api: str, moment: Callable[[Typed, str], bool]
) -> None:
    name = failed_job(typed)
    typed.allow("train")
    typed.allow("report")
    command = typed.start("run", "--resume", name)
    until(lambda: moment(typed, f"{name}-s1") or command.poll() is not None, pause=0.01)
    command.send_signal(signal.SIGKILL)
    command.communicate()
    time.sleep(0.1)

    outcome = json.loads(typed.type("run", "--resume", name, "--json")[0])

    assert (outcome["job_name"], outcome["status"]) == (f"{name}-s1", "Completed")
    assert {folder.name for folder in typed.jobs.iterdir()} == {name, f"{name}-s1"}
    assert typed.ran()["prep"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["submitted", "Running", "Completed"])
def test_resumption_in_a_workspace_that_is_killed_and_typed_again_is_one_job(
    typed: Typed, prefect_api: str, azure_ml: Service, moment: str
) -> None:
    typed.environment = {**typed.environment, **azure_ml.environment}
    name = failed_job(typed, "azureml")
    typed.allow("train")
    typed.allow("report")
    rest = f"{name}-s1"
    if moment == "Running":
        azure_ml.faults.add(JobFault("held", step="train", status="Running"))

    def is_there() -> bool:
        if moment == "submitted":
            return azure_ml.count("PUT", f"/jobs/{rest}") > 0
        return azure_ml.jobs.get(rest, {}).get("status") == moment

    command = typed.start("run", "--resume", name)
    until(lambda: is_there() or command.poll() is not None, pause=0.01)
    command.send_signal(signal.SIGKILL)
    command.communicate()
    azure_ml.faults.clear()

    outcome = json.loads(typed.type("run", "--resume", name, "--json", "--output-dir", "out")[0])

    assert (outcome["job_name"], outcome["status"]) == (rest, "Completed")
    assert azure_ml.count("PUT", f"/jobs/{rest}") == 1
    assert sorted(azure_ml.children(rest)) == ["report", "train"]
    assert typed.ran() == {"prep": 1, "train": 2, "report": 1}
    assert (typed.folder / "out" / "outputs" / "out" / "said").read_text().endswith("first title\n")
    assert azure_ml.jobs[rest]["tags"]["tandem.resumes"] == name
    assert not azure_ml.violations
