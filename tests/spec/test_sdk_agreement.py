"""Our reading against that of the azure-ai-ml client itself."""

# The client has no types worth the name; what it says is only compared here.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeStubs=false, reportPrivateUsage=false

import warnings
from pathlib import Path
from typing import Any

import pytest

from flows.errors import SpecError
from flows.spec.model import Literal
from flows.spec.reader import read_component, read_job
from flows.spec.values import literal_text

SHIPPED = Path(__file__).parents[2] / "aml_steps"
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
        ours = read_component(path).inputs["x"].default
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


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yml")), ids=lambda path: path.name)
def test_every_shipped_job_is_read_by_both(client: Any, path: Path) -> None:
    job, spec = client.load_job(path), read_job(path)
    assert sorted(getattr(job, "jobs", None) or [spec.name]) == sorted(spec.steps)
    assert sorted(job.inputs) == sorted(spec.inputs)
    assert sorted(job.outputs) == sorted(spec.outputs)
