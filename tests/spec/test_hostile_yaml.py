"""Hostile YAML is refused in a message, in little time and memory, and nothing is written."""

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.errors import SpecError
from flows.spec.reading.assets import read_data_asset, read_environment
from flows.spec.reading.reader import examine
from flows.spec.text import keys, limits
from tests.spec.hostile import REFUSED, SLOW, VALID, Files
from tests.terminal import PROJECT

SECONDS = 10  # for a refusal; what a busy machine takes to start an interpreter comes on top
FAST = sorted(REFUSED.keys() - SLOW)


def written(folder: Path, files: Files) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def all_files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def faults_of(folders: list[Path]) -> dict[str, list[str]]:
    """What a process of one gigabyte finds wrong with the job of each folder."""
    words = [sys.executable, "-m", "tests.spec.read_hostile", *map(str, folders)]
    done = subprocess.run(
        words, cwd=PROJECT, capture_output=True, text=True, timeout=60 + SECONDS * len(folders), check=False
    )
    assert done.returncode == 0, done.stderr
    return {Path(found["folder"]).name: found["faults"] for found in map(json.loads, done.stdout.splitlines())}


def test_hostile_files_are_refused_in_little_memory_and_nothing_is_written(tmp_path: Path) -> None:
    folders = [written(tmp_path / f"{at}", REFUSED[name]()) for at, name in enumerate(FAST)]
    before = all_files(tmp_path)
    found = faults_of(folders)
    assert [name for at, name in enumerate(FAST) if not found[str(at)]] == []
    assert all_files(tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SLOW | VALID.keys()))
def test_large_hostile_file_ends_in_time_and_little_memory(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path / "files", {**REFUSED, **VALID}[name]())
    assert bool(faults_of([folder])["files"]) is (name in REFUSED)


@pytest.mark.parametrize("name", ["blocks in a command", "an = in a variable", "laughs", "a command of a megabyte"])
def test_validate_tells_hostile_files_without_a_traceback(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path / "files", REFUSED[name]())
    words = [Path(sys.executable).with_name("tandem"), "validate", folder / "job.yml"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stdout.startswith(f"{folder / 'job.yml'}:")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ten megabytes", "the file has more than 4 MiB"),
        ("101 levels", f"nested deeper than {limits.MAX_DEPTH} levels"),
        ("laughs of texts", f"more than {limits.MAX_CHARACTERS:,} characters, as its aliases repeat them"),
        ("merged laughs", f"more than {limits.MAX_VALUES:,} values, as its aliases repeat them"),
        ("a command of a megabyte", "command: a text has 1,000,000 bytes, and no program is given more than 131,071"),
        ("a long key", "a key has 1,001 bytes, and may have 1,000 at most"),
        ("directives", f"more than {limits.MAX_DIRECTIVES} lines that begin with a percent sign"),
        ("pipelines in pipelines", f"pipelines are nested deeper than {limits.MAX_NESTING} levels"),
        ("an = in a variable", "the variable LD PRELOAD=x has a = in its name"),
        ("a zero in a variable", "has the character U+0000 in it"),
        ("a command as the name of an input", "inputs.a b; touch: 'a b; touch' cannot be the name of an input"),
        ("a folder as the name of a job", "name: the name '/some/folder' has a / in it"),
    ],
)
def test_limit_is_told_in_the_message(tmp_path: Path, name: str, said: str) -> None:
    folder = written(tmp_path / "files", REFUSED[name]())
    assert any(said in str(fault) for fault in examine(folder / "job.yml").faults)


def test_keys_are_counted_without_aliases_where_there_are_none(tmp_path: Path) -> None:
    folder = written(tmp_path / "files", REFUSED["110,000 inputs"]())
    (fault,) = examine(folder / "job.yml").faults
    assert fault.message == f"the file has more than {limits.MAX_VALUES:,} values"


VARIABLES = 'environment_variables: {"A=B": "1"}'


@pytest.mark.parametrize(
    "text",
    [
        f"command: echo\nenvironment: {{image: a}}\n{VARIABLES}",
        f"name: c\ntype: command\nversion: 1\ncommand: echo\nenvironment: {{image: a}}\n{VARIABLES}",
        f"type: pipeline\njobs: {{a: {{command: echo, environment: {{image: a}}, {VARIABLES}}}}}",
        f"type: pipeline\njobs: {{a: {{component: ./c.yml, {VARIABLES}}}}}",
        "type: sweep\nsearch_space: {x: {type: choice, values: [1]}}\nobjective: {goal: minimize, primary_metric: m}\n"
        "limits: {max_total_trials: 1}\ntrial: {command: 'echo ${{search_space.x}}', environment: {image: a}, "
        f"{VARIABLES}}}",
        "type: parallel\ntask: {type: run_function, code: ., entry_script: c.yml, environment: {image: a}}\n"
        f"input_data: ${{{{inputs.x}}}}\ninputs: {{x: {{path: azureml:a:1}}}}\n{VARIABLES}",
    ],
    ids=["job", "component", "node", "node of a component", "sweep", "parallel"],
)
def test_variable_that_no_process_can_have_is_refused_wherever_it_stands(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yml").write_text("name: c\ntype: command\ncommand: echo\nenvironment: {image: a}\n")
    (tmp_path / "job.yml").write_text(text)
    (fault,) = examine(tmp_path / "job.yml").faults
    assert fault.message == "the variable A=B has a = in its name"
    assert fault.place.key.endswith("environment_variables.A=B")


EXPECTED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]

# Any document of the keys that the reader knows, with values that none of them expects.
KEYS = st.sampled_from(
    sorted(
        {
            *keys.COMMAND_JOB,
            *keys.PIPELINE_JOB,
            *keys.SWEEP_JOB,
            *keys.PARALLEL_JOB,
            *keys.COMMAND_COMPONENT,
            *keys.LITERAL_PORT,
            *keys.DATA_VALUE,
            *keys.OUTPUT_VALUE,
            *keys.TASK,
            *keys.RETRY_SETTINGS,
            *keys.RESOURCES,
            *keys.SWEEP_LIMITS,
            *keys.EARLY_TERMINATION,
            *keys.SAMPLING,
            *keys.OBJECTIVE,
            *keys.ENVIRONMENT,
            *keys.QUEUE_SETTINGS,
            *(
                "a",
                "A",
                "../x",
                "/etc/x",
                "a b; touch",
                "",
                ".",
                "..",
                "a=b",
                "<<",
                "=",
                "x" * 300,
                "é",
                "\u202e",
                "a\nb",
            ),
        }
    )
)
WORDS = (
    *("command", "pipeline", "sweep", "parallel", "spark", "component", "number", "integer", "boolean", "string"),
    *("uri_file", "uri_folder", "mltable", "mlflow_model", "choice", "uniform", "bandit", "random", "run_function"),
    *("./job.yml", "file:job.yml", "azureml:a:1", "azureml://registries/a", "https://a/b", "/", "..", "~", "/dev/zero"),
    *("${{inputs.a}}", "${{outputs.a}}", "${{parent.inputs.a}}", "${{parent.outputs.a}}", "${{search_space.a}}"),
    *("${{parent.jobs.a.outputs.a}}", "${{parent.jobs.a.inputs.a}}", "$[[", "]]", "${{", "}}", "{inputs.a}", "$[[${{"),
)
SCALARS = (
    st.sampled_from(WORDS)
    | st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=20)
    | st.just("\0")
    | st.just("9" * 5000)
)
TREES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=40
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(("command", "pipeline", "sweep", "parallel", "spark", "component")),
        "jobs": st.dictionaries(KEYS, TREES, max_size=4),
        "inputs": st.dictionaries(KEYS, TREES, max_size=4),
        "outputs": st.dictionaries(KEYS, TREES, max_size=4),
        "environment_variables": st.dictionaries(KEYS, TREES, max_size=3),
        "command": SCALARS,
        "environment": TREES,
        "trial": TREES,
        "task": TREES,
        "search_space": st.dictionaries(KEYS, TREES, max_size=3),
        "name": SCALARS,
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=EXPECTED)
@given(document=st.dictionaries(KEYS, TREES, max_size=8) | DOCUMENTS)
def test_no_document_of_known_keys_makes_the_reader_fail(tmp_path: Path, document: Mapping[str, Any]) -> None:
    read_without_trace(tmp_path, json.dumps(document).encode())


@settings(max_examples=150, deadline=None, suppress_health_check=EXPECTED)
@given(
    pieces=st.lists(
        st.sampled_from(
            (*"[]{}:,-?&*!|>%@`'\"#\n\t ", "<<: ", "&a ", "*a ", "!!set ", "!!omap ", "!x ", "---\n", "...\n", "\\0")
        )
        | st.sampled_from(("a: ", "\n  b: ", "command: x", "\njobs: ", "\ninputs: ", "1", "~", "é", "\x85", "\u2028")),
        max_size=40,
    )
)
def test_no_piece_of_yaml_makes_the_reader_fail(tmp_path: Path, pieces: list[str]) -> None:
    read_without_trace(tmp_path, "".join(pieces).encode())


@settings(max_examples=150, deadline=None, suppress_health_check=EXPECTED)
@given(content=st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail(tmp_path: Path, content: bytes) -> None:
    read_without_trace(tmp_path, content)


def read_without_trace(folder: Path, content: bytes) -> None:
    file = folder / "job.yml"
    file.write_bytes(content)
    for finding in examine(file).findings:
        assert str(finding).startswith(f"{file}:")
    for read in (read_data_asset, read_environment):
        with suppress(SpecError):
            read(file)
    assert [path.name for path in folder.iterdir()] == ["job.yml"]
