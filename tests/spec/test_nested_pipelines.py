"""Pipelines inside of pipelines become one graph."""

from pathlib import Path

import pytest

from flows.spec.bind import bind
from flows.spec.graph import waves
from flows.spec.model.job import DataReference, JobKind, Literal, ParentInput, ParentOutput, StepOutput
from flows.spec.reading.reader import examine
from flows.spec.values import literal_text
from tests.spec.conftest import Faults, ReadJob

INNER = """\
    name: prepare_and_fit
    type: pipeline
    inputs:
      rows: {type: uri_folder}
      rate: {type: number, default: 0.2}
      note: {type: string, optional: true}
      champion: {type: mlflow_model, optional: true}
    outputs:
      model: {type: mlflow_model}
      clean: {type: uri_folder}
    jobs:
      prep:
        command: prep ${{inputs.rows}} ${{outputs.clean}}
        environment: azureml:e:1
        inputs: {rows: "${{parent.inputs.rows}}"}
        outputs: {clean: "${{parent.outputs.clean}}"}
      train:
        component: ./fit.yml
        inputs:
          data: ${{parent.jobs.prep.outputs.clean}}
          rate: ${{parent.inputs.rate}}
          champion: ${{parent.inputs.champion}}
        outputs: {model: "${{parent.outputs.model}}"}
"""
OUTER = """\
    type: pipeline
    inputs:
      raw: {type: uri_folder, path: azureml:rows:1}
      rate: 0.5
    outputs: {best: {type: mlflow_model}}
    settings: {default_compute: azureml:cpu}
    jobs:
      first:
        type: pipeline
        component: ./inner.yml
        inputs: {rows: "${{parent.inputs.raw}}", rate: "${{parent.inputs.rate}}"}
        outputs: {model: "${{parent.outputs.best}}"}
      look:
        command: look ${{inputs.rows}}
        environment: azureml:e:1
        inputs: {rows: "${{parent.jobs.first.outputs.clean}}"}
"""


def test_the_steps_of_a_nested_pipeline_stand_in_its_place(read: ReadJob, tmp_path: Path) -> None:
    spec = read(OUTER, inner_yml=INNER)
    assert list(spec.steps) == ["first.prep", "first.train", "look"]
    assert waves(spec) == (("first.prep",), ("first.train", "look"))
    assert spec.nested["first"].component == "prepare_and_fit"
    assert spec.nested["first"].source == tmp_path / "inner.yml"
    assert spec.steps["first.train"].node == ("first", "train")


def test_bindings_go_through_the_inputs_and_outputs_of_the_nested_pipeline(read: ReadJob) -> None:
    spec = read(OUTER, inner_yml=INNER)
    prep, train, look = spec.steps.values()
    assert prep.inputs == {"rows": ParentInput("raw")}
    assert train.inputs == {"data": StepOutput("first.prep", "clean"), "rate": ParentInput("rate")}
    assert train.outputs == {"model": ParentOutput("best")}
    assert prep.outputs == {}
    assert look.inputs == {"rows": StepOutput("first.prep", "clean")}


def test_a_default_of_the_nested_pipeline_reaches_its_steps(read: ReadJob) -> None:
    spec = read(OUTER.replace(', rate: "${{parent.inputs.rate}}"', ""), inner_yml=INNER)
    assert spec.steps["first.train"].inputs["rate"] == Literal("0.2")


def test_a_new_value_of_an_input_reaches_the_inner_step(read: ReadJob) -> None:
    spec = bind(read(OUTER, inner_yml=INNER), {"rate": 0.7, "jobs.first.train.inputs.solver": "saga"})
    train = spec.steps["first.train"]
    assert (literal_text(spec, train, "rate"), literal_text(spec, train, "solver")) == ("0.7", "saga")


def test_pipelines_nest_deeper(read: ReadJob) -> None:
    middle = """\
        name: middle
        type: pipeline
        inputs: {rows: {type: uri_folder}}
        outputs: {model: {type: mlflow_model}}
        jobs:
          deep:
            type: pipeline
            component: ./inner.yml
            inputs: {rows: "${{parent.inputs.rows}}"}
            outputs: {model: "${{parent.outputs.model}}"}
        """
    outer = """\
        type: pipeline
        jobs:
          a: {type: pipeline, component: ./middle.yml, inputs: {rows: {type: uri_folder, path: "azureml:rows:1"}}}
          b: {component: ./use.yml, inputs: {model: "${{parent.jobs.a.outputs.model}}"}}
        """
    use = "name: use\ncommand: use ${{inputs.model}}\nenvironment: azureml:e:1\ninputs: {model: {type: mlflow_model}}"
    spec = read(outer, middle_yml=middle, inner_yml=INNER, use_yml=use)
    assert list(spec.steps) == ["a.deep.prep", "a.deep.train", "b"]
    assert spec.steps["a.deep.prep"].inputs == {"rows": DataReference("uri_folder", "azureml:rows:1")}
    assert spec.steps["b"].inputs == {"model": StepOutput("a.deep.train", "model")}
    assert list(spec.nested) == ["a", "a.deep"]


def test_the_node_says_where_an_inner_output_is_kept_and_registered(read: ReadJob, tmp_path: Path) -> None:
    node = "outputs: {model: {path: ./models, name: diabetes, version: 3}}"
    spec = read(OUTER.replace('outputs: {model: "${{parent.outputs.best}}"}', node), inner_yml=INNER)
    port = spec.steps["first.train"].component.outputs["model"]
    assert (port.path, port.asset_name, port.asset_version) == (str(tmp_path / "models"), "diabetes", "3")


@pytest.mark.parametrize("reference", ["./inner.yml", "inner.yml", "file:./inner.yml"])
@pytest.mark.parametrize("kind", ["type: pipeline", ""])
def test_a_job_may_be_nothing_but_a_pipeline_component_and_its_inputs(read: ReadJob, reference: str, kind: str) -> None:
    job = f"{kind}\ncomponent: {reference}\ninputs:\n  rows: {{type: uri_folder, path: azureml:rows:1}}\n  rate: 0.9\n"
    spec = read(job, inner_yml=INNER)
    assert spec.kind is JobKind.PIPELINE
    assert list(spec.steps) == ["prep", "train"]
    assert spec.inputs["rate"].value == Literal("0.9")
    assert spec.inputs["rate"].port.type == "number"
    assert list(spec.outputs) == ["model", "clean"]


def test_a_job_of_a_component_may_leave_the_path_of_its_data_to_whoever_runs_it(read: ReadJob) -> None:
    spec = read("component: inner.yml\ninputs: {rows: {type: uri_folder, mode: download}}\n", inner_yml=INNER)
    assert spec.inputs["rows"].value is None
    assert bind(spec, {"rows": "azureml:rows:1"}).inputs["rows"].value == DataReference("uri_folder", "azureml:rows:1")


def test_a_pipeline_component_alone_is_a_job_whose_inputs_are_open(read: ReadJob) -> None:
    spec = read("$schema: https://x/pipelineComponent.schema.json\n" + INNER.replace("\n    ", "\n").strip())
    assert (spec.kind, spec.is_component, list(spec.steps)) == (JobKind.PIPELINE, True, ["prep", "train"])
    assert (spec.inputs["rows"].value, spec.inputs["rate"].value) == (None, Literal("0.2"))
    bound = bind(spec, {"rows": "azureml:rows:1"})
    assert bound.inputs["rows"].value == DataReference("uri_folder", "azureml:rows:1")


def test_an_inner_fault_is_told_once_in_its_own_file(faults: Faults) -> None:
    twice = (
        OUTER
        + '  second: {type: pipeline, component: inner.yml, inputs: {rows: "${{parent.inputs.raw}}"}}\n'.replace(
            "  second", "      second"
        )
    )
    assert faults(
        twice, inner_yml=INNER.replace("parent.jobs.prep.outputs.clean", "parent.jobs.pre.outputs.clean")
    ) == ["inner.yml:20: jobs.train.inputs.data: the job has no step pre | Did you mean prep?"]


FAULTS = {
    "an unknown input": (
        "rows: ",
        "row: ",
        "job.yml:11: jobs.first.inputs.row: the component prepare_and_fit has no input row | Did you mean rows?",
    ),
    "an unknown output": (
        "outputs: {model",
        "outputs: {modl",
        "job.yml:12: jobs.first.outputs.modl: the component prepare_and_fit has no output modl | Did you mean model?",
    ),
    "another type": (
        "rate: 0.5",
        "rate: fast",
        "job.yml:4: inputs.rate: fast is not a number for the number input rate of first | Give a number.",
    ),
    "a range that only an inner step has": (
        "rate: 0.5",
        "rate: 1.5",
        "job.yml:4: inputs.rate: 1.5 is above the maximum 1 for the number input rate of first.train"
        " | Give a number from 0 to 1.",
    ),
}


@pytest.mark.parametrize(("old", "new", "fault"), FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_at_a_nested_pipeline_is_told(faults: Faults, old: str, new: str, fault: str) -> None:
    text = OUTER.replace(old, new, 1) if "rows" not in old else OUTER.replace("inputs: {rows:", "inputs: {row:", 1)
    found = faults(text, inner_yml=INNER)
    assert fault in found
    assert len(found) == (2 if "rows" in old else 1)  # what is misspelt is missing as well


def test_an_input_that_a_pipeline_component_does_not_declare_is_ignored(read: ReadJob, tmp_path: Path) -> None:
    spec = read(OUTER.replace("{rows:", "{seed: 3, rows:"), inner_yml=INNER)
    assert [str(warning).replace(f"{tmp_path}/", "") for warning in examine(spec.source).warnings] == [
        "job.yml:11: jobs.first.inputs.seed: warning: the component prepare_and_fit has no input seed\n"
        "    It is ignored."
    ]
    assert bind(spec, {"rate": 0.1}).steps.keys() == spec.steps.keys()


def test_an_output_that_no_inner_step_delivers_is_a_fault_where_it_is_read(faults: Faults) -> None:
    inner = INNER.replace('outputs: {clean: "${{parent.outputs.clean}}"}', "outputs: {clean: }")
    assert faults(OUTER, inner_yml=inner) == [
        "inner.yml:1: outputs.clean: no step of prepare_and_fit delivers its output clean"
        " | Bind an output of one to ${{parent.outputs.clean}}."
    ]


def test_a_pipeline_that_holds_itself_is_a_fault(faults: Faults) -> None:
    text = "type: pipeline\njobs:\n  a: {type: pipeline, component: ./loop.yml}\n"
    loop = "name: loop\ntype: pipeline\njobs:\n  b: {type: pipeline, component: ./loop.yml}\n"
    assert faults(text, loop_yml=loop) == [
        "loop.yml:4: jobs.b.component: the pipeline loop.yml is a step of itself | Remove this step."
    ]
