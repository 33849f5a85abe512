"""What is installed for an interpreter: for this one, and for another that is asked."""

import importlib.metadata
import sys
from pathlib import Path

import pytest

from flows.engines.plan.interpreter import interpreter, normalized
from flows.errors import SettingsError
from tests.engines.projects import virtual_environment


def test_this_interpreter_has_what_importlib_finds() -> None:
    found = {normalized(it.name): it.version for it in importlib.metadata.distributions()}
    found.pop("tandem-ml")

    assert dict(interpreter().packages) == found
    assert interpreter().version == sys.version


def test_another_interpreter_is_asked(tmp_path: Path) -> None:
    python = virtual_environment(tmp_path / "venv", pandas="1.1.5", Scikit_Learn="0.24.2")

    found = interpreter(python)

    assert found.packages == {"pandas": "1.1.5", "scikit-learn": "0.24.2"}
    assert found.release == sys.version.split()[0]


def test_an_interpreter_is_told_by_its_path_not_by_what_it_links_to(tmp_path: Path) -> None:
    python = virtual_environment(tmp_path / "venv")

    assert python.resolve() == Path(sys.executable).resolve()
    assert interpreter(python).packages == {}


def test_the_folder_that_a_plan_is_made_in_is_not_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = virtual_environment(tmp_path / "venv")
    (tmp_path / "json.py").write_text("raise SystemExit(1)")
    (tmp_path / "other-1.0.dist-info").mkdir()
    monkeypatch.chdir(tmp_path)

    assert interpreter(python).packages == {}


def test_an_old_package_of_its_own_format_is_found(tmp_path: Path) -> None:
    python = virtual_environment(tmp_path / "venv")
    site = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    (site / "six-1.16.0-py3.11.egg-info").touch()

    assert interpreter(python).packages == {"six": "1.16.0"}


@pytest.mark.parametrize("name", ["missing", "folder", "failing", "silent", "text"])
def test_what_is_no_interpreter_is_refused_by_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    elif name != "missing":
        path.write_text({"failing": "#!/bin/sh\nexit 3\n", "silent": "#!/bin/sh\n", "text": "hello"}[name])
        path.chmod(0o755)

    with pytest.raises(SettingsError, match=f"--python {path}: this is no Python that runs here"):
        interpreter(path)
