"""The workflows of GitHub, as files: without fault, with least rights, and in agreement with what they run."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from flows.training.parameters import PipelineParameters, Solver
from tests.terminal import PROJECT
from tests.workflows.runner import WORKFLOWS, run_steps, workflow

FILES = sorted(WORKFLOWS.glob("*.yml"))
TRAIN = WORKFLOWS / "train-on-azure-ml.yml"
CHECKS = WORKFLOWS / "checks.yml"
PINNED = re.compile(r"[\w-]+/[\w/-]+@[0-9a-f]{40}")
UNTRUSTED = re.compile(r"\$\{\{")


def actionlint(*files: Path) -> "subprocess.CompletedProcess[str]":
    program = Path(sys.executable).with_name("actionlint")
    return subprocess.run([program, "-no-color", *files], cwd=PROJECT, capture_output=True, text=True, timeout=60)


def test_actionlint_finds_nothing_in_the_workflows() -> None:
    found = actionlint(*FILES)
    assert (found.returncode, found.stdout) == (0, ""), found.stdout + found.stderr


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("  plan:\n", "  plan:\n    needs: [nothing]\n", "nothing"),
        ("pull-requests: write", "pull-request: write", "pull-request"),
        ("github.event.pull_request.head", "github.evnt.pull_request.head", "evnt"),
        ("runs-on: ubuntu-24.04", "runs-on: ubuntu-12.04", "ubuntu-12.04"),
        ('run: make test PYTHON="$PYTHON"', "run: echo ${{ github.head_ref }}", "untrusted"),
    ],
)
def test_actionlint_names_what_is_wrong_in_a_broken_workflow(tmp_path: Path, old: str, new: str, told: str) -> None:
    text = CHECKS.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "checks.yml").write_text(text.replace(old, new), encoding="utf-8")
    found = actionlint(tmp_path / "checks.yml")
    assert found.returncode == 1 and told in found.stdout


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_expression_stands_in_a_script_and_every_script_has_a_name(file: Path) -> None:
    for _, step in run_steps(file):
        assert step["name"]
        assert not UNTRUSTED.search(step["run"]), step["name"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it(file: Path) -> None:
    used = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    assert used
    for line in used:
        action, _, version = line.partition("uses: ")[2].partition(" # ")
        assert PINNED.fullmatch(action) and re.fullmatch(r"v\d+\.\d+\.\d+", version), line


def test_only_the_jobs_that_need_it_may_write_a_comment_or_sign_in() -> None:
    rights = {
        (file.stem, name): job.get("permissions", workflow(file)["permissions"])
        for file in FILES
        for name, job in workflow(file)["jobs"].items()
    }
    assert rights == {
        ("checks", "tests"): {"contents": "read"},
        ("checks", "check"): {"contents": "read"},
        ("checks", "plan"): {"contents": "read", "pull-requests": "write"},
        ("train-on-azure-ml", "train"): {"contents": "read", "id-token": "write"},
    }


def test_code_of_a_fork_runs_without_a_token_that_can_write() -> None:
    assert set(workflow(CHECKS)["on"]) == {"pull_request"}  # never pull_request_target
    (step,) = [step for _, step in run_steps(CHECKS) if "GITHUB_TOKEN" in step.get("env", {})]
    assert "head.repo.full_name == github.repository" in step["if"]


def test_no_secret_is_stored() -> None:
    for file in FILES:
        assert "secrets." not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_job_has_a_time_limit_and_keeps_no_credentials_of_git(file: Path) -> None:
    for name, job in workflow(file)["jobs"].items():
        assert int(job["timeout-minutes"]) <= 360, name
        (checkout,) = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        assert checkout["with"]["persist-credentials"] == "false"


def test_tests_run_with_every_python_that_make_tests_and_nothing_runs_with_another() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    (pythons,) = re.findall(r"^PYTHONS := (.+)$", makefile, re.MULTILINE)
    assert workflow(CHECKS)["jobs"]["tests"]["strategy"]["matrix"]["python"] == pythons.split()
    for file in FILES:
        for job in workflow(file)["jobs"].values():
            (setup,) = [step for step in job["steps"] if step.get("uses", "").startswith("actions/setup-python@")]
            assert setup["with"]["python-version"] in (*pythons.split(), "${{ matrix.python }}")


def test_inputs_of_a_training_by_hand_are_parameters_of_the_pipeline_with_their_values_and_defaults() -> None:
    inputs: dict[str, dict[str, Any]] = workflow(TRAIN)["on"]["workflow_dispatch"]["inputs"]
    assert inputs.keys() <= PipelineParameters.model_fields.keys()
    assert tuple(inputs["solver"]["options"]) == get_args(Solver)
    assert inputs["solver"]["default"] == PipelineParameters.model_fields["solver"].default
    for name in inputs:
        (step,) = [step for _, step in run_steps(TRAIN) if name.upper() in step.get("env", {})]
        assert step["env"][name.upper()] == f"${{{{ inputs.{name} }}}}"
        assert f"--{name}=" in step["run"]


def test_what_starts_a_training_is_there() -> None:
    for pattern in workflow(TRAIN)["on"]["push"]["paths"]:
        assert list(PROJECT.glob(pattern)), pattern
