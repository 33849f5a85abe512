"""Components and steps that transfer data are refused, with a reason, where the client does so."""

from pathlib import Path

import pytest

from tests.spec.sdk_client import refused_here, refused_there

pytestmark = pytest.mark.filterwarnings("ignore")

FOLDER = "{type: uri_folder}"
COPY = f"task: copy_data, inputs: {{a: {FOLDER}}}, outputs: {{o: {FOLDER}}}"
IMPORT = "task: import_data, source: {type: database}, outputs: {sink: {type: mltable}}"
EXPORT = "task: export_data, sink: {type: file_system}, inputs: {source: {type: uri_folder}}"
# What a component says, and our fault where the client refuses it, by a step that names it too.
COMPONENTS = [
    (COPY, ""),
    (COPY + ", data_copy_mode: Fail_If_Conflict", ""),
    (COPY + ", data_copy_mode: overwrite", "overwrite is not a mode that can stand here"),
    (COPY.replace("copy_data", "Copy_Data"), "Copy_Data is not a task that can stand here"),
    (COPY.replace("task: copy_data, ", ""), "a data transfer has no task"),
    (COPY.replace(f"o: {FOLDER}", f"o: {FOLDER}, p: {FOLDER}"), "a component that is to copy_data has one output"),
    (COPY.replace(f"o: {FOLDER}", ""), "a component that is to copy_data has one output"),
    (COPY.replace("a: {type: uri_folder}", "a: {type: string}"), "a is string, and a component that is to copy_data"),
    (IMPORT, ""),
    (IMPORT.replace("mltable", "uri_folder"), ""),
    (IMPORT.replace("database", "File_System"), ""),
    (IMPORT.replace("mltable", "uri_file"), "sink is uri_file, and a component that is to import_data"),
    (IMPORT.replace("mltable", "path"), "sink is path, and a component that is to import_data"),
    (IMPORT.replace("mltable", "mltable, mode: direct"), "cannot have the key mode"),
    (IMPORT.replace("sink:", "o:"), "has one of the outputs, sink"),
    (IMPORT.replace("type: database", ""), "the source has no type"),
    (IMPORT.replace("database", "lake"), "lake is not a type that can stand here"),
    (IMPORT.replace("{type: database}", ""), "source is empty"),
    (
        IMPORT.replace("database", "database, connection: azureml:c"),
        "the source of a component cannot have the key con",
    ),
    (IMPORT.replace("source: {type: database}, ", ""), "a component that is to import_data has no source"),
    (IMPORT + f", inputs: {{a: {FOLDER}}}", "a component that is to import_data has no inputs"),
    (EXPORT, ""),
    (EXPORT.replace("uri_folder", "uri_file"), ""),
    (EXPORT.replace("uri_folder", "mltable"), "source is mltable, and a component that is to export_data"),
    (EXPORT.replace("uri_folder", "uri_folder, optional: true"), "cannot have the key optional"),
    (EXPORT.replace("source:", "a:"), "has one of the inputs, source"),
    (EXPORT.replace("sink: {type: file_system}, ", ""), "a component that is to export_data has no sink"),
    (EXPORT + f", outputs: {{o: {FOLDER}}}", "a component that is to export_data has no outputs"),
]
# What keeps a component from being registered, and no step from naming it.
ALONE = [
    (f"task: copy_data, outputs: {{o: {FOLDER}}}", "a component that is to copy_data has no inputs"),
    (f"task: copy_data, inputs: {{a: {FOLDER}}}", "a component that is to copy_data has no output"),
    (COPY.replace(f"o: {FOLDER}", "o: {type: mltable}"), "o is mltable, and what is copied there uri_folder"),
    (
        COPY.replace(FOLDER, "{type: uri_file}").replace("a:", "b: {type: uri_file}, a:"),
        "o is uri_file, and what is copied there uri_folder",
    ),
    (COPY.replace(f"a: {FOLDER}", "a: {type: uri_file}, b: {type: mltable}"), ""),
]
PIPELINE = "{type: pipeline, settings: {default_compute: azureml:c}, jobs: {a: {type: data_transfer, %s}}}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.yml"


def check(path: Path, text: str, fault: str, loader: str) -> None:
    """Both take a file, or both refuse it, and ours says so in these words."""
    path.write_text(text)
    told = refused_here(loader, path)
    assert bool(told) is bool(fault), told
    assert fault in told
    assert bool(refused_there(loader, path)) is bool(fault)


@pytest.mark.parametrize("version", ["", "version: 1, "], ids=["no version", "a version"])
@pytest.mark.parametrize(("declared", "fault"), [*COMPONENTS, *ALONE])
def test_a_component_is_refused_where_the_client_refuses_it(
    path: Path, declared: str, fault: str, version: str
) -> None:
    check(path, f"{{name: move, type: data_transfer, {version}{declared}}}", fault, "load_component")


@pytest.mark.parametrize(("declared", "fault"), [each for each in COMPONENTS if "copy_data" in each[0]])
def test_a_component_that_a_step_names_is_refused_where_the_client_refuses_it(
    path: Path, declared: str, fault: str
) -> None:
    path.with_name("move.yml").write_text(f"{{name: move, type: data_transfer, version: 1, {declared}}}")
    given = "inputs: {a: {type: uri_folder, path: azureml:a:1}}"
    if "string" in declared:
        given = "inputs: {a: x}"
    check(path, PIPELINE % f"component: ./move.yml, task: copy_data, {given}", fault, "load_job")


@pytest.mark.parametrize(
    ("declared", "fault"), [each for each in ALONE if "inputs: {a: {type: uri_folder}}" in each[0]]
)
def test_a_step_may_name_a_component_that_cannot_be_registered(path: Path, declared: str, fault: str) -> None:
    path.with_name("move.yml").write_text(f"{{name: move, type: data_transfer, version: 1, {declared}}}")
    given = "inputs: {a: {type: uri_folder, path: azureml:a:1}}"
    check(path, PIPELINE % f"component: ./move.yml, task: copy_data, {given}", "", "load_job")


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("{type: uri_folder, path: azureml:a:1}", ""),
        ("{path: azureml:a:1}", ""),
        ("azureml:a:1", "a is no data, which is all that copy_data moves"),
        ("3", "a is no data, which is all that copy_data moves"),
        ("true", "a is no data, which is all that copy_data moves"),
        ("{value: 3}", "a is no data, which is all that copy_data moves"),
    ],
)
def test_a_step_copies_data_only(path: Path, given: str, fault: str) -> None:
    step = f"task: copy_data, data_copy_mode: Merge_With_Overwrite, inputs: {{a: {given}}}, outputs: {{o: {FOLDER}}}"
    check(path, PIPELINE % step, fault, "load_job")


@pytest.mark.parametrize("more", ["inputs: {a: {type: uri_folder, path: azureml:a:1}}", "compute: azureml:c"])
def test_no_job_transfers_data(path: Path, more: str) -> None:
    text = f"{{type: data_transfer, task: copy_data, outputs: {{o: {FOLDER}}}, {more}}}"
    check(path, text, "a job cannot be of type data_transfer", "load_job")
