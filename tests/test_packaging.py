"""What is declared and what is tested agree: the versions of Python, the lock, the environment."""

import re
import subprocess
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

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
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


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
