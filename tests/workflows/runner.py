"""The `run:` steps of a workflow, as GitHub's runner runs them: bash in the checkout, with the variables and files it
gives. What an action does (`uses:`) is up to the test."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.terminal import PROJECT

WORKFLOWS = PROJECT / ".github" / "workflows"
BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail")  # what `shell: bash` stands for
_EXPRESSION = re.compile(r"\$\{\{ *(.+?) *\}\}")


class _WithoutBooleans(yaml.SafeLoader):
    """Reads `on:` as the word that it is, and not as true."""


_WithoutBooleans.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:bool"]
    for letter, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def workflow(file: Path) -> dict[str, Any]:
    return yaml.load(file.read_text(encoding="utf-8"), _WithoutBooleans)


def run_steps(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The steps of a workflow that run a script, each with its job."""
    for name, job in workflow(file)["jobs"].items():
        yield from ((name, step) for step in job["steps"] if "run" in step)


@dataclass
class Runner:
    """One job of one workflow, in a checkout.

    Attributes:
        file: The workflow.
        job: The name of the job.
        checkout: What the steps find in their working directory.
        expressions: What stands for each expression that the steps name, such as `inputs.solver`.
        variables: What the machine has, beside what GitHub sets.
    """

    file: Path
    job: str
    checkout: Path
    expressions: Mapping[str, str]
    variables: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        self.temporary = self.checkout.parent / f"temporary-{self.checkout.name}"
        self.temporary.mkdir(exist_ok=True)
        self.summary = self.temporary / "summary.md"
        self._started: list[subprocess.Popen[str]] = []

    def script(self, name: str) -> str:
        return self._step(name)["run"]

    def environment(self, name: str) -> dict[str, str]:
        """The variables of a step: the machine's, GitHub's, the job's and its own."""
        declared = {**self._job.get("env", {}), **self._step(name).get("env", {})}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "AZUREML_"))}
        return {
            **inherited,
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.checkout),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "RUNNER_TEMP": str(self.temporary),
            **{
                key: _EXPRESSION.sub(lambda found: self.expressions[found[1]], str(text))
                for key, text in declared.items()
            },
            "PYTHONPATH": str(self.checkout),  # the packages of the environment, with the modules of this checkout
            **self.variables,
        }

    def start(self, name: str) -> "subprocess.Popen[str]":
        """Start a step as a process of its own, which a signal can be sent to."""
        script = self.temporary / "script.sh"
        script.write_text(self.script(name), encoding="utf-8")
        process = subprocess.Popen(
            [*BASH, str(script)],
            cwd=self.checkout,
            env=self.environment(name),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def close(self) -> None:
        """End what a step that was started has left."""
        for process in self._started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def run(self, name: str, code: int = 0) -> str:
        """Run a step that must end with this exit code, and return what it says."""
        process = self.start(name)
        said = process.communicate(timeout=300)[0]
        assert process.returncode == code, said
        return said

    @property
    def _job(self) -> dict[str, Any]:
        return workflow(self.file)["jobs"][self.job]

    def _step(self, name: str) -> dict[str, Any]:
        (found,) = [step for step in self._job["steps"] if step.get("name") == name]
        return found


def with_environment(checkout: Path) -> None:
    """Give a checkout the environment that runs the tests, as `make env` would have made it there."""
    (checkout / ".venv").symlink_to(Path(sys.executable).parent.parent, target_is_directory=True)
