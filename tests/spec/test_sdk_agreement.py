"""Our reading against that of the azure-ai-ml client itself."""

# The client has no types worth the name; what it says is only compared here.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeStubs=false, reportPrivateUsage=false

import warnings
from pathlib import Path
from typing import Any

import pytest

from flows.errors import SpecError
from flows.spec.model.job import JobKind, JobSpec, Literal, OutputPort
from flows.spec.reading.reader import examine, read_job
from flows.spec.values import literal_text
from tests.terminal import PROJECT

SHIPPED = PROJECT / "aml_steps"
PUBLIC_STYLE = sorted(
    path for path in (Path(__file__).parent / "public_style").glob("*/*.yml") if path.parent.name != "environments"
)
LITERALS = ["1.0", "true", "yes", '"true"', "010", "1.0e-3", "1e-3", "1_000", "0x1f", "1:30", ".5", "3", "1.0e+22"]
COMPONENT = "name: c\nversion: '1'\ntype: command\ncommand: echo ${{inputs.x}}\nenvironment: azureml:e:1\n"
PIPELINE = "type: pipeline\ncompute: azureml:cpu\njobs:\n  a: {component: ./c.yml, inputs: {x: %s}}\ninputs: {x: %s}\n"


@pytest.fixture(scope="module")
def client() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import azure.ai.ml
    return azure.ai.ml


pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("text", LITERALS)
def test_a_literal_is_sent_as_the_same_text(client: Any, tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yml").write_text(COMPONENT + "inputs: {x: {type: string}}")
    path = tmp_path / "p.yml"
    path.write_text(PIPELINE % (text, text))
    sent = client.load_job(path)._to_rest_object().as_dict()["properties"]
    spec = read_job(path)
    assert spec.inputs["x"].value == Literal(sent["inputs"]["x"]["value"])
    assert literal_text(spec, spec.steps["a"], "x") == sent["jobs"]["a"]["inputs"]["x"]["value"]


@pytest.mark.parametrize("text", [*LITERALS, "1", "0", "2.7", "-3.9", '"0.5"', "text", "true"])
def test_a_literal_in_a_mapping_is_sent_as_the_same_text(client: Any, tmp_path: Path, text: str) -> None:
    path = tmp_path / "j.yml"
    path.write_text(f"command: echo\nenvironment: azureml:e:1\ninputs: {{x: {{value: {text}}}}}\n")
    sent = _properties(client.load_job(path))["inputs"]["x"]["value"]
    assert read_job(path).inputs["x"].value == Literal(sent)


@pytest.mark.parametrize("kind", ["string", "number", "integer", "boolean"])
@pytest.mark.parametrize("text", [*LITERALS, "10", "2.5", '"7"', "abc", "false"])
def test_a_default_is_brought_to_its_type_alike(client: Any, tmp_path: Path, kind: str, text: str) -> None:
    path = tmp_path / "c.yml"
    path.write_text(COMPONENT + f"inputs: {{x: {{type: {kind}, default: {text}}}}}")
    try:
        theirs = client.load_component(path)._to_dict()["inputs"]["x"]["default"]
    except Exception:
        theirs = None
    try:
        (step,) = read_job(path).steps.values()
        ours = step.component.inputs["x"].default
    except SpecError:
        ours = None
    if kind == "integer" and theirs in ("True", "False"):  # the client lets it pass, and no integer port can take it
        theirs = None
    assert ours == theirs


@pytest.mark.parametrize(
    "text",
    [
        PIPELINE % ("1", "1") + "foo: 1",
        PIPELINE % ("1", "1") + "description:",
        PIPELINE % ("1", "1") + "tags: {a: 1}",
        PIPELINE % ("1", "1") + "settings: {default_compute: cpu}",
        PIPELINE % ("", "1"),
        PIPELINE % ("1", ""),
        PIPELINE % ("1", ".inf"),
        PIPELINE % ("1", "[1]"),
        PIPELINE % ("1", "{type: number, default: 1}"),
        PIPELINE % ("1", "{type: uri_fil, path: ./a}"),
        PIPELINE.replace("  a:", "  B-a:") % ("1", "1"),
        PIPELINE.replace("./c.yml", "./d.yml") % ("1", "1"),
        "command: echo\nenvironment: ./e.yml",
        "command: echo\nenvironment: azureml:e:1\ncode: ./nope",
        "command: echo\nenvironment: azureml:e:1\nlimits: {foo: 1}",
        "command: echo\nenvironment: {docker: a}",
        "command: echo\n",
        "environment: azureml:e:1\ntype: command",
    ],
)
def test_what_the_client_refuses_we_refuse(client: Any, tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yml").write_text(COMPONENT + "inputs: {x: {type: string}}")
    path = tmp_path / "p.yml"
    path.write_text(text)
    with pytest.raises(Exception, match=r"."):
        client.load_job(path)
    with pytest.raises(SpecError):
        read_job(path)


@pytest.mark.parametrize("name", ["a", "_a1", "A", "a.b", "a-b", "1a", "a b; touch", "../x", "/x", "é", "a\\nb"])
@pytest.mark.parametrize(
    "text",
    [
        "command: echo\nenvironment: azureml:e:1\ninputs: {%s: 1}",
        "command: echo\nenvironment: azureml:e:1\noutputs: {%s: {type: uri_folder}}",
        PIPELINE % ("1", "1") + "outputs: {%s: {type: uri_folder}}",
        "type: pipeline\ncompute: azureml:c\njobs: {a: {component: ./c.yml, inputs: {x: 1}}}\ninputs: {%s: 1}",
        "type: pipeline\ncompute: azureml:c\njobs: {%s: {component: ./c.yml, inputs: {x: 1}}}",
    ],
    ids=["input", "output", "output of a pipeline", "input of a pipeline", "step"],
)
def test_a_name_is_taken_where_the_client_sends_it(client: Any, tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "c.yml").write_text(COMPONENT + "inputs: {x: {type: string}}")
    path = tmp_path / "p.yml"
    path.write_text(text % f'"{name}"')
    try:
        job = client.load_job(path)
        (job._to_job() if text.startswith("command") else job)._to_rest_object()  # as it is sent
        theirs = True
    except Exception:
        theirs = False
    assert (not examine(path).faults) is theirs


def test_an_output_of_a_command_in_place_has_the_type_of_what_it_is_bound_to(client: Any, tmp_path: Path) -> None:
    above = "{file: {type: uri_file}, model: {type: mlflow_model}, bare: }"
    bound = "{file: '${{parent.outputs.file}}', model: '${{parent.outputs.model}}', bare: '${{parent.outputs.bare}}', "
    own = (
        "own: {type: uri_folder, path: '${{parent.outputs.file}}'}, moved: {path: '${{parent.outputs.file}}'}, none: }"
    )
    step = f"{{type: command, environment: azureml:e:1, command: echo, outputs: {bound}{own}}}"
    path = tmp_path / "p.yml"
    path.write_text(f"type: pipeline\noutputs: {above}\njobs:\n  a: {step}\n")
    theirs = {name: port.type for name, port in client.load_job(path).jobs["a"].component.outputs.items()}
    assert {name: port.type for name, port in read_job(path).steps["a"].component.outputs.items()} == theirs


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yml")), ids=lambda path: path.name)
def test_every_shipped_job_is_read_by_both(client: Any, path: Path) -> None:
    job, spec = client.load_job(path), read_job(path)
    assert sorted(getattr(job, "jobs", None) or [spec.name]) == sorted(spec.steps)
    assert sorted(job.inputs) == sorted(spec.inputs)
    assert sorted(job.outputs) == sorted(spec.outputs)


def in_folder(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


@pytest.mark.parametrize("path", PUBLIC_STYLE, ids=in_folder)
def test_a_file_in_the_style_of_public_ones_is_read_by_both_and_its_literals_are_sent_alike(
    client: Any, path: Path
) -> None:
    examination = examine(path)
    assert examination.faults == ()
    spec = examination.spec
    assert spec is not None
    if spec.is_component:
        theirs = client.load_component(path)._to_dict()
        assert _declared(spec) == {
            kind: {name: (port["type"], port.get("default")) for name, port in theirs.get(kind, {}).items()}
            for kind in ("inputs", "outputs")
        }
        return
    job = client.load_job(path)
    if spec.kind is JobKind.OTHER:
        return
    sent = _properties(job)
    assert _literals_of(spec) == _literals_sent(sent.get("inputs"))
    for name, step in spec.steps.items():
        if spec.kind is JobKind.PIPELINE and "component" not in sent and name in sent["jobs"]:
            theirs = sent["jobs"][name].get("inputs") or {}
            bound = {port for port, value in theirs.items() if str(value.get("value")).startswith("${{")}
            given = {port: value.text for port, value in step.inputs.items() if isinstance(value, Literal)}
            assert {port: text for port, text in given.items() if port not in bound} == _literals_sent(theirs)


def _declared(spec: JobSpec) -> dict[str, dict[str, tuple[str, str | None]]]:
    def output(port: OutputPort) -> tuple[str, None]:
        return port.type, None

    return {
        "inputs": {name: (given.port.type, given.port.default) for name, given in spec.inputs.items()},
        "outputs": {name: output(port) for name, port in spec.outputs.items()},
    }


def _literals_of(spec: JobSpec) -> dict[str, str]:
    return {name: given.value.text for name, given in spec.inputs.items() if isinstance(given.value, Literal)}


def _properties(job: Any) -> Any:
    """What the client would send of a job, which is an object or a mapping depending on its kind."""
    sent = job._to_rest_object()
    return sent.get("properties", sent) if isinstance(sent, dict) else sent.as_dict()["properties"]


def _literals_sent(inputs: Any) -> dict[str, str]:
    """The literals in a submission, of a job or of a step; bindings are none."""
    found = {
        name: value
        for name, value in (inputs or {}).items()
        if "literal" in (value.get("job_input_type"), value.get("jobInputType"))
    }
    return {name: str(value["value"]) for name, value in found.items() if not str(value["value"]).startswith("${{")}
