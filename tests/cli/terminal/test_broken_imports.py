"""A library that cannot be imported ends a command with one message that names it, and what installs it."""

import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli.state.usable import explained
from flows.cli.terminal.broken_imports import import_fault
from flows.settings import Settings
from tests.conftest import Write
from tests.terminal import JOB, PIPELINE, PROJECT, Terminal

# As Prefect offers its parts: whatever they fail with becomes an AttributeError, which an import statement drops.
LAZY = """
import importlib

def __getattr__(name):
    try:
        return importlib.import_module(".main", __name__).flow
    except ModuleNotFoundError as error:
        raise AttributeError(name) from error
"""


@pytest.mark.parametrize("script", [PIPELINE, JOB], ids=["pipeline", "job"])
def test_command_without_its_libraries_says_which_is_missing_and_how_to_get_them(script: Path, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, None)
    words = [sys.executable, "-S", *terminal.words(script, ())[1:]]  # without site-packages
    done = subprocess.run(words, cwd=tmp_path, env=terminal.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "Error: A library cannot be imported by " in done.stderr and "Traceback" not in done.stderr
    assert "No module named 'p" in done.stderr and f"`make env` makes the environment in {PROJECT}" in done.stderr
    assert done.stderr.count("\n") == 1 and done.stdout == ""


def test_the_first_cause_of_a_part_that_a_package_imports_when_it_is_used_is_told(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write({"lazily/__init__.py": LAZY, "lazily/main.py": "import no_such_library"})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="cannot import name 'flow'") as raised:
        exec("from lazily import flow")
    told = str(import_fault(raised.value))
    assert f"by {sys.executable} (Python {sys.version.split()[0]}): No module named 'no_such_library'." in told


def test_a_module_of_our_own_that_is_missing_is_a_bug_and_keeps_its_traceback() -> None:
    assert import_fault(ModuleNotFoundError("No module named 'flows.gone'", name="flows.gone")) is None


def test_an_import_error_is_not_told_as_a_fault_of_a_state_that_is_not_there_yet(tmp_path: Path) -> None:
    settings, missing = Settings.from_environment({"TANDEM_HOME": str(tmp_path / "new")}), ModuleNotFoundError("x")
    assert explained(missing, settings) is missing
    broken = ValueError("a bug")
    assert explained(broken, settings) is broken
