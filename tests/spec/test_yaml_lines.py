from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.errors import Fault, SpecError
from flows.spec.reading.assets import read_data_asset, read_environment
from flows.spec.reading.reader import read_job
from flows.spec.text.section import Section
from flows.spec.text.yaml_lines import load_yaml


def values(tmp_path: Path, text: str) -> tuple[object, list[str]]:
    path = tmp_path / "a.yml"
    path.write_bytes(text.encode())
    faults: list[Fault] = []
    node = load_yaml(path, faults)
    return node and node.plain(), [str(fault).replace(f"{tmp_path}/", "") for fault in faults]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 8),
        ("1.0e-3", 0.001),
        ("1e-3", "1e-3"),
        ("yes", True),
        ("1_000", 1000),
        ("1:30", 90),
        ("'true'", "true"),
        ("~", None),
    ],
)
def test_scalars_are_resolved_as_yaml_1_1_does(tmp_path: Path, text: str, value: object) -> None:
    assert values(tmp_path, f"a: {text}") == ({"a": value}, [])


def test_merge_keys_and_aliases_are_resolved(tmp_path: Path) -> None:
    text = "base: &base {x: 1, y: 2}\nmine: {<<: *base, y: 3}"
    assert values(tmp_path, text)[0] == {"base": {"x": 1, "y": 2}, "mine": {"x": 1, "y": 3}}


def test_a_key_stands_where_it_is_written_not_where_its_value_begins(tmp_path: Path) -> None:
    path = tmp_path / "a.yml"
    path.write_text("a: 1\nb:\n  c:\n    - 1\n")
    node = load_yaml(path, [])
    assert node is not None
    b = Section(node, []).section("b")
    assert str(b.node.place) == f"{path}:2: b"
    assert str(b.place("c")) == f"{path}:3: b.c"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "a.yml:1: the file is empty\n    Write the keys of an Azure ML YAML file."),
        ("- 1", "a.yml:1: the file does not hold a mapping\n    Write the keys of an Azure ML YAML file."),
        ("a: 1\nb: {c: 1, c: 2}", "a.yml:2: b.c: the key c is there twice, first on line 2\n    Keep one of the two."),
        (
            "a: 2026-01-31",
            'a.yml:1: a: 2026-01-31 is a date, which Azure ML refuses\n    Put it in quotes: "2026-01-31".',
        ),
        ("1: 2", "a.yml:1: the key 1 is not text\n    Put it in quotes."),
        ("a: !!bool x", "a.yml:1: a: x is not a value that Azure ML takes\n    Write text or a number."),
        ("a: &x [*x]", "a.yml:1: an alias stands inside of what it names"),
        ("[" * 200_000, "a.yml:1: the file is nested deeper than 100 levels"),
        ("a: b: c", "a.yml:1: this is not YAML, at column 5: mapping values are not allowed in this context"),
        ("a: 1\nb: \x07", "a.yml:2: this is not YAML: control characters are not allowed: #x0007"),
    ],
)
def test_what_azure_ml_cannot_read_is_one_fault_with_its_line(tmp_path: Path, text: str, fault: str) -> None:
    assert values(tmp_path, text)[1] == [fault]


def test_aliases_that_explode_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert values(tmp_path, "\n".join(lines))[1] == [
        "a.yml:1: the file has more than 100,000 values, as its aliases repeat them"
    ]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "there is no such file"),
        ("folder", "this is a folder\n    Name the YAML file in it."),
        (b"a: 1\nb: \xff", "the text is not UTF-8\n    Save the file as UTF-8."),
    ],
)
def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path, content: bytes | str | None, fault: str) -> None:
    path = tmp_path / "a.yml"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "folder":
        path.mkdir()
    with pytest.raises(SpecError) as error:
        read_job(path)
    assert str(error.value).endswith(fault)


WORDS = st.sampled_from(
    (
        *("type", "command", "pipeline", "jobs", "inputs", "outputs", "component", "code", "environment", "a", "b"),
        *("path", "value", "number", "uri_file", "default", "enum", "min", ".", "./a.yml", "azureml:a:1", "1", "0.5"),
        *("true", "null", "limits", "timeout", "settings", "tags", "image", "conda_file", "version", "build"),
        *("${{parent.inputs.a}}", "${{parent.jobs.b.outputs.a}}", "${{parent.outputs.a}}", "${{inputs.a}}"),
    )
)
TREES = st.recursive(
    WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=30,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(max_size=60) | st.dictionaries(WORDS, TREES, max_size=8).map(lambda tree: str(tree).replace("'", ""))
)
def test_no_text_makes_a_reader_fail_with_anything_but_faults(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.yml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    for read in (read_job, read_data_asset, read_environment):
        with suppress(SpecError):
            read(path)
