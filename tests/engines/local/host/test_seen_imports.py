"""What a component was seen to import is preloaded the next time it runs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from flows.engines.local.host import seen_imports
from flows.engines.local.host.preload import modules_of
from flows.engines.local.host.seen_imports import SeenImports
from flows.spec.model.job import Step
from flows.spec.reading.reader import read_job
from tests.conftest import Write

JOB = """
    type: command
    code: ./code
    command: python main.py --rate ${{inputs.rate}}
    environment: {image: ubuntu}
    inputs: {rate: 1}
    """


@pytest.fixture
def step(write: Write) -> Step:
    """A step whose script imports pandas, as its source says."""
    folder = write({"job.yml": JOB, "code/main.py": "import pandas"})
    return next(iter(read_job(folder / "job.yml").steps.values()))


@pytest.fixture
def seen(tmp_path: Path) -> SeenImports:
    return SeenImports(tmp_path / "home")


def note(folder: Path, *names: str) -> Path:
    """What a step that imported these has written down."""
    file = folder / "imported.json"
    file.write_text(json.dumps(names))
    return file


def test_what_a_step_was_seen_to_import_is_added_to_what_its_source_says(
    step: Step, seen: SeenImports, tmp_path: Path
) -> None:
    assert modules_of(step, seen) == ["pandas"]

    seen.add(step.component, note(tmp_path, "skops", "skops.io"))
    seen.add(step.component, note(tmp_path, "git"))

    assert modules_of(step, seen) == ["pandas", "skops", "skops.io", "git"]
    assert not (tmp_path / "imported.json").exists()


def test_a_step_that_imported_nothing_itself_or_wrote_nothing_down_changes_nothing(
    step: Step, seen: SeenImports, tmp_path: Path
) -> None:
    seen.add(step.component, note(tmp_path, "skops"))
    seen.add(step.component, note(tmp_path))
    seen.add(step.component, tmp_path / "not-there.json")

    assert seen.of(step.component) == ["skops"]


@pytest.mark.parametrize("text", ["", "{", "3", "null"])
def test_a_note_that_cannot_be_read_is_none(text: str, step: Step, seen: SeenImports, tmp_path: Path) -> None:
    note(tmp_path).write_text(text)
    seen.add(step.component, tmp_path / "imported.json")

    assert seen.of(step.component) == []


def test_each_component_has_its_own_record(step: Step, seen: SeenImports, tmp_path: Path) -> None:
    seen.add(step.component, note(tmp_path, "skops"))

    assert seen.of(replace(step.component, name="another")) == []


def test_the_oldest_of_too_many_modules_are_forgotten(
    step: Step, seen: SeenImports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen_imports, "MOST_MODULES", 2)
    seen.add(step.component, note(tmp_path, "skops", "git"))
    seen.add(step.component, note(tmp_path, "joblib"))

    assert seen.of(step.component) == ["git", "joblib"]


def test_a_step_with_variables_of_its_own_is_not_forked_so_nothing_is_preloaded_for_it(
    step: Step, seen: SeenImports
) -> None:
    assert modules_of(replace(step, environment_variables={"MPLBACKEND": "Agg"}), seen) == []
