"""The checks of a pull request, step by step: its plan against main, and the one comment that is kept up to date."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.terminal import PROJECT
from tests.workflows.runner import WORKFLOWS, Runner, run_steps, with_environment

CHECKS = WORKFLOWS / "checks.yml"
KEPT = PROJECT / "outputs" / "workflows"  # for a person to look at
PLAN, COMMENT = "Plan the pipeline against main", "Write the plan into the comment of the pull request"
VALIDATE = "Validate the Azure ML YAML"
MAKE = {"Run the tests": "pytest", "Lint, types, architecture": "pyright", "Make the environment": ""}
BOT, TOKEN = "github-actions[bot]", "loopback-token"


class Comments:
    """The comments on pull request 7 of owner/project, over GitHub's API."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []
        self.writes: list[str] = []
        comments = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = urlsplit(self.path)
                query = {name: int(values[0]) for name, values in parse_qs(asked.query).items()}
                assert asked.path == "/repos/owner/project/issues/7/comments"
                first = (query["page"] - 1) * query["per_page"]
                self._answer(200, comments.found[first : first + query["per_page"]])

            def do_POST(self) -> None:
                assert self.path == "/repos/owner/project/issues/7/comments"
                comments.writes.append("POST")
                self._answer(201, comments.add(BOT, self._body()))

            def do_PATCH(self) -> None:
                folder, _, number = self.path.rpartition("/")
                assert folder == "/repos/owner/project/issues/comments"
                comments.writes.append("PATCH")
                (comment,) = [each for each in comments.found if each["id"] == int(number)]
                comment["body"] = self._body()
                self._answer(200, comment)

            def _body(self) -> str:
                return json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"]

            def _answer(self, status: int, body: object) -> None:
                allowed = self.headers["Authorization"] == f"Bearer {TOKEN}"
                self.send_response(status if allowed else 403)
                self.end_headers()
                self.wfile.write(json.dumps(body if allowed else {}).encode())

            def log_message(self, format: str, *args: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def add(self, author: str, body: str) -> dict[str, Any]:
        number = len(self.found) + 1
        self.found.append({"id": number, "user": {"login": author}, "body": body, "html_url": f"#comment-{number}"})
        return self.found[-1]


@pytest.fixture
def comments() -> Iterator[Comments]:
    found = Comments()
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


def git(checkout: Path, *words: str) -> None:
    identity = {f"GIT_{who}_{what}": "t@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(
        ["git", *words], cwd=checkout, env={**os.environ, **identity}, check=True, capture_output=True, timeout=60
    )


@pytest.fixture
def runner(tmp_path: Path, home: Path, comments: Comments) -> Runner:
    """The job `plan` in the checkout of a pull request that changes the training script and the default of an input."""
    checkout = tmp_path / "project"
    for name in ("aml_steps", "data", "environment", "flows", ".github"):
        shutil.copytree(PROJECT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".gitignore", "Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy2(PROJECT / name, checkout / name)
    git(checkout, "init", "--quiet", "--initial-branch=main")
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message=main")
    git(checkout, "switch", "--quiet", "--create=change")
    edit(checkout / "aml_steps" / "train" / "train.py", "import argparse", "import argparse  # changed")
    git(checkout, "commit", "--quiet", "--all", "--message=change")
    git(checkout, "switch", "--quiet", "main")
    git(checkout, "merge", "--quiet", "--no-ff", "--message=what GitHub would merge", "change")
    with_environment(checkout)
    found = Runner(CHECKS, "plan", checkout, {"github.token": TOKEN, "github.event.pull_request.number": "7"})
    found.variables = {"GITHUB_API_URL": comments.address, "GITHUB_REPOSITORY": "owner/project"}
    return found


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_plan_of_a_pull_request_says_in_one_comment_what_would_run_again_and_why(
    runner: Runner, comments: Comments
) -> None:
    runner.run(PLAN)
    plan = runner.summary.read_text(encoding="utf-8")
    assert "compared with main\n\n1 would run, 1 may run, 2 unchanged.\n" in plan
    assert "| train | would run | code file train.py changed |" in plan
    assert "| evaluate | may run | train runs first; reused if what it delivers is the same |" in plan

    assert "#comment-1" in runner.run(COMMENT)
    (comment,) = comments.found
    assert comment["body"].endswith(plan)
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / "pull-request-comment.md").write_text(comment["body"], encoding="utf-8")

    (runner.temporary / "plan.md").write_text("### Another plan\n")
    runner.run(COMMENT)
    assert comments.writes == ["POST", "PATCH"]
    assert [each["body"].splitlines()[1] for each in comments.found] == ["### Another plan"]


def test_comment_of_the_workflow_is_found_on_a_later_page_and_those_of_people_are_left_alone(
    runner: Runner, comments: Comments
) -> None:
    for number in range(120):
        comments.add("somebody", "<!-- tandem plan -->\nquoted" if number % 2 else f"comment {number}")
    comments.add(BOT, "of another workflow")
    own = comments.add(BOT, "<!-- tandem plan -->\nold")
    comments.add("somebody", "later")
    before = [each["body"] for each in comments.found if each is not own]
    (runner.temporary / "plan.md").write_text("new\n")
    runner.run(COMMENT)
    assert own["body"] == "<!-- tandem plan -->\nnew\n"
    assert [each["body"] for each in comments.found if each is not own] == before


def test_step_fails_if_github_refuses_the_comment(runner: Runner, comments: Comments) -> None:
    (runner.temporary / "plan.md").write_text("new\n")
    runner.variables["GITHUB_TOKEN"] = "another"
    assert "403" in runner.run(COMMENT, code=1)
    assert not comments.found


def test_plan_of_a_wrong_pipeline_fails_its_step_and_names_the_line(runner: Runner) -> None:
    edit(runner.checkout / "aml_steps" / "train_pipeline.yml", "jobs:", "jbos:")
    assert "train_pipeline.yml" in runner.run(PLAN, code=2)


def test_yaml_of_the_project_is_valid_and_a_fault_fails_the_step(runner: Runner) -> None:
    check = Runner(CHECKS, "check", runner.checkout, {})
    assert "no faults" in check.run(VALIDATE)
    edit(runner.checkout / "aml_steps" / "train" / "component.yml", "command:", "comand:")
    assert "component.yml" in check.run(VALIDATE, code=2)


@pytest.mark.parametrize(
    ("job", "name"), [(job, step["name"]) for job, step in run_steps(CHECKS) if "make " in step["run"]]
)
def test_make_knows_what_a_step_asks_for(runner: Runner, job: str, name: str) -> None:
    """What these make is the whole test run itself, so `make` only says here what it would do."""
    step = Runner(CHECKS, job, runner.checkout, {"matrix.python": "3.11"}, {"MAKEFLAGS": "n"})
    assert MAKE[name] in step.run(name)


def test_every_script_of_the_workflow_is_run_here() -> None:
    assert {step["name"] for _, step in run_steps(CHECKS)} == {PLAN, COMMENT, VALIDATE, *MAKE}
