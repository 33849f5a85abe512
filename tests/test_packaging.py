"""What is declared and what is tested agree: the versions of Python, the lock, the environment; a wheel works too."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from flows import settings
from flows.settings import Settings, make_command, training_command
from tests.terminal import PROJECT

MAKEFILE = (PROJECT / "Makefile").read_text(encoding="utf-8")


def pythons_of_make() -> list[str]:
    found = re.search(r"^PYTHONS := (.*)$", MAKEFILE, re.MULTILINE)
    assert found
    return found[1].split()


def test_the_pythons_that_are_declared_are_those_that_are_tested() -> None:
    declared = SpecifierSet(
        tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    )
    assert [minor for minor in (f"3.{number}" for number in range(30)) if minor in declared] == pythons_of_make()


def test_the_environment_of_the_steps_has_a_python_that_is_tested() -> None:
    conda = yaml.safe_load((PROJECT / "environment" / "conda.yml").read_text(encoding="utf-8"))
    (python,) = [it.partition("=")[2] for it in conda["dependencies"] if str(it).startswith("python=")]
    environment = yaml.safe_load((PROJECT / "environment" / "environment.yml").read_text(encoding="utf-8"))
    assert python == environment["tags"]["python"] and python in pythons_of_make()


def test_the_lock_has_what_each_python_needs() -> None:
    """Prefect needs another library of dates from 3.13 on; without it, no flow can be imported."""
    lines = re.findall(
        r"^([a-z0-9][^\\\n]*)", (PROJECT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE
    )
    locked = [Requirement(line) for line in lines]

    def named(python: str) -> set[str]:
        here = {"python_version": python, "python_full_version": f"{python}.9"}
        return {it.name for it in locked if it.marker is None or it.marker.evaluate(here)}

    assert {python: named(python) & {"pendulum", "whenever"} for python in pythons_of_make()} == {
        "3.11": {"pendulum"},
        "3.12": {"pendulum"},
        "3.13": {"whenever"},
    }


def made(*words: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = ["make", "-C", str(PROJECT), f"VENV={folder / 'venv'}", *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # we may be in one
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def another_python(folder: Path) -> Path:
    """A program that passes for a Python which is too old."""
    program = folder / "python"
    program.write_text("#!/bin/sh\necho 3.10\n", encoding="utf-8")
    program.chmod(0o755)
    return program


def test_make_refuses_a_python_that_is_not_declared_and_leaves_no_environment(tmp_path: Path) -> None:
    old = another_python(tmp_path)
    done = made("train", f"PYTHON={old}", folder=tmp_path)
    assert done.returncode == 2
    assert f"{old} is Python 3.10, and one of {' '.join(pythons_of_make())} is needed" in done.stderr
    assert "make PYTHON=/path/to/python train" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_make_says_when_there_is_no_python_that_it_can_use(tmp_path: Path) -> None:
    done = made("train", "PYTHONS=3.5", folder=tmp_path)
    assert "none of 3.5 is installed. Install one, or name it: make PYTHON=/path/to/python train" in done.stderr


def test_a_python_that_is_not_on_this_machine_is_said_not_to_be_tested(tmp_path: Path) -> None:
    done = made("test-pythons", "PYTHONS=3.5", folder=tmp_path)
    assert done.returncode == 0 and "Python 3.5 is not on this machine: not tested.\n" in done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment into which a wheel of this checkout is installed, without a network."""
    folder, uv = tmp_path_factory.mktemp("wheel"), Path(sys.executable).with_name("uv")
    subprocess.run([uv, "build", "--quiet", "--offline", "--wheel", "--out-dir", folder, PROJECT], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (wheel,) = folder.glob("*.whl")
    python = folder / "venv" / "bin" / "python"
    into = ["--quiet", "--offline", "--no-deps", "--python", python]
    subprocess.run([uv, "pip", "install", *into, wheel], check=True)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return python.parent


Typed = Callable[[Sequence[str | Path]], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def typed(installed: Path, tmp_path: Path) -> Typed:
    """Type a command of the wheel in a folder that is no checkout, as a user who has set nothing."""
    (tmp_path / "work").mkdir()
    environment = {
        "HOME": str(tmp_path / "home"),
        "PATH": f"{installed}:/usr/bin:/bin",
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),  # for speed only
    }

    def run(words: Sequence[str | Path]) -> "subprocess.CompletedProcess[str]":
        command = [installed / words[0], *words[1:]]
        work = tmp_path / "work"
        return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, timeout=120)

    return run


def files_of(installed: Path) -> set[Path]:
    return {it for it in installed.parent.rglob("*") if it.is_file() and it.suffix != ".pyc"}


def test_an_installed_wheel_keeps_its_state_in_the_folder_of_its_user_and_nothing_where_it_is_installed(
    installed: Path, typed: Typed, tmp_path: Path
) -> None:
    before = files_of(installed)
    (tmp_path / "work" / "job.yml").write_text("type: command\ncommand: echo it ran\nenvironment: azureml:any@latest\n")
    done = typed(["tandem", "run", "job.yml"])
    assert done.returncode == 0, done.stderr
    state = tmp_path / "home" / ".local" / "state" / "tandem"
    assert f"job: {state / 'jobs'}" in done.stdout
    assert files_of(installed) == before
    assert [it.name for it in (tmp_path / "work").iterdir()] == ["job.yml"]


def test_an_installed_wheel_looks_for_data_and_environments_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "PROJECT", tmp_path / "site-packages")
    monkeypatch.chdir(tmp_path)
    found = Settings.from_environment({"XDG_STATE_HOME": str(tmp_path / "state")})
    assert found.data_assets == (tmp_path / "data", tmp_path / "state" / "tandem" / "data" / "assets")
    assert found.environments == tmp_path / "environment"


def test_commands_that_messages_name_are_right_in_the_checkout_elsewhere_and_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PROJECT)
    assert make_command("ui", "tandem ui") == "make ui"
    assert training_command() == "python flows/create_aml_pipeline_train.py"
    monkeypatch.chdir(tmp_path)
    assert make_command("ui", "tandem ui") == f"make -C {PROJECT} ui"
    assert training_command() == f"python {PROJECT}/flows/create_aml_pipeline_train.py"
    monkeypatch.setattr(settings, "PROJECT", tmp_path / "site packages")
    assert make_command("ui", "tandem ui") == "tandem ui"
    assert training_command() == f"python '{tmp_path}/site packages/flows/create_aml_pipeline_train.py'"


@pytest.mark.parametrize(
    "words", [["python", "-m", "flows.create_aml_pipeline_train"], ["tandem", "data", "register", "rows.csv"]]
)
def test_what_needs_the_pipeline_says_that_it_needs_a_checkout_and_leaves_nothing(
    words: list[str], typed: Typed, tmp_path: Path
) -> None:
    done = typed(words)
    pipeline = tmp_path / "work" / "aml_steps" / "train_pipeline.yml"
    assert done.returncode == 2
    assert f"Error: There is no training pipeline here: {pipeline} is missing." in done.stderr
    assert list((tmp_path / "work").iterdir()) == []


def test_the_pages_that_help_names_are_no_files_of_the_project(typed: Typed) -> None:
    said = typed(["tandem", "--help"]).stdout
    assert "tandem run pipeline.yml" in said and "aml_steps" not in said
