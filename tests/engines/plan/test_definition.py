"""The definition of a job: equal for what does the same, and else named by what differs."""

from pathlib import Path

import pytest

from flows.engines.plan.definition import LONGEST_LABEL, definition_digest, definition_parts, file_label, same_file
from flows.spec.bind import bind
from flows.spec.reading.reader import read_job
from tests.conftest import Write
from tests.engines.projects import FILES


def parts(folder: Path, **inputs: object) -> dict[str, str]:
    return dict(definition_parts(bind(read_job(folder / "project" / "pipeline.yml"), inputs)))


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("pipeline.yml", "pipeline.yml"),
        ("prep/component.yml", "prep/component.yml"),
        ("train/src/near.py", "code train/src"),
    ],
)
def test_what_has_changed_is_named(write: Write, file: str, named: str) -> None:
    folder = write(FILES)
    before, place = parts(folder), folder / "project" / file
    place.write_text(f"{place.read_text()}# changed\n")
    now = parts(folder)
    assert [part for part in now if now[part] != before[part]] == [named]
    assert definition_digest(now) != definition_digest(before)


WITH_CONTROL_FLOW = {
    "say.yml": "name: say\ncommand: echo ${{inputs.word}}\nenvironment: azureml:e:1\ninputs: {word: {type: string}}",
    "inner.yml": """
        type: pipeline
        jobs:
          said: {component: ./say.yml, inputs: {word: so}}
        """,
    "loop.yml": """
        type: pipeline
        jobs:
          inner: {type: pipeline, component: ./inner.yml}
          choice: {type: if_else, condition: true, true_block: "${{parent.jobs.inner}}"}
          each: {component: ./say.yml}
          loop: {type: parallel_for, body: "${{parent.jobs.each}}", items: [{word: a}, {word: b}]}
        """,
    "whole.yml": "type: pipeline\ncomponent: ./inner.yml",
}


@pytest.mark.parametrize(
    ("job", "file"),
    [
        ("loop.yml", "loop.yml"),
        *((job, file) for job in ("loop.yml", "whole.yml") for file in ("say.yml", "inner.yml")),
    ],
)
def test_files_of_pipelines_in_a_pipeline_are_part_of_it_and_choices_and_loops_have_none(
    write: Write, job: str, file: str
) -> None:
    folder = write(WITH_CONTROL_FLOW)
    before = definition_parts(read_job(folder / job))
    (folder / file).write_text(f"{(folder / file).read_text()}\n# changed\n")
    now = definition_parts(read_job(folder / job))
    assert [part for part in now if now[part] != before[part]] == [file]


def test_value_of_an_input_is_part_of_it_and_the_place_of_the_project_is_not(write: Write, tmp_path: Path) -> None:
    folder = write({**FILES, **{f"copy/{name}": text for name, text in FILES.items()}})
    assert parts(folder) == parts(folder / "copy")
    assert parts(folder, rate=0.2) == {**parts(folder), "inputs.rate": "0.2"}


def test_label_of_a_file_names_its_project_and_its_path_there(write: Write) -> None:
    long = f"{'deep/' * 50}job.yml"
    folder = write({"mine/.git/HEAD": "", "mine/steps/job.yml": "", f"mine/{long}": "", "alone/job.yml": ""})
    assert file_label(folder / "mine" / "steps" / "job.yml") == "mine/steps/job.yml"
    assert file_label(folder / "alone" / "job.yml") == "alone/job.yml"
    assert len(file_label(folder / "mine" / long)) <= LONGEST_LABEL + 1
    assert same_file("mine/steps/job.yml", "a-clone/steps/job.yml")
    assert not same_file("mine/steps/job.yml", "mine/job.yml")
