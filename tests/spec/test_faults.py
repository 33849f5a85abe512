"""What a wrong file is told, word by word."""

from pathlib import Path

import pytest

from .conftest import Faults

RIGHT = """\
type: pipeline
inputs:
  rate: 0.5
outputs:
  model: {type: mlflow_model}
jobs:
  train:
    component: ./fit.yml
    inputs:
      data: azureml:rows:1
      rate: ${{parent.inputs.rate}}
    outputs:
      model: ${{parent.outputs.model}}
"""


def test_a_right_file_has_no_faults(faults: Faults) -> None:
    assert faults(RIGHT) == []


JOB_FAULTS = {
    "a key of the job": (
        "outputs:\n  model: {",
        "description: a\noutput: 3\noutputs:\n  model: {",
        "5: output: a pipeline job cannot have the key output | Did you mean outputs?",
    ),
    "a key of a step": (
        "    component",
        "    componnet: 1\n    component",
        "8: jobs.train.componnet: the step train cannot have the key componnet | Did you mean component?",
    ),
    "an input of a component": (
        "rate: ${{",
        "rat: ${{",
        "11: jobs.train.inputs.rat: the component fit has no input rat | Did you mean rate?",
    ),
    "an input of the job": (
        "parent.inputs.rate",
        "parent.inputs.rat",
        "11: jobs.train.inputs.rate: the job has no input rat | Did you mean rate?",
    ),
    "a step": (
        "parent.inputs.rate",
        "parent.jobs.prep.outputs.x",
        "11: jobs.train.inputs.rate: the job has no step prep | The steps are: train.",
    ),
    "an expression": (
        "parent.inputs.rate",
        "parent.input.rate",
        "11: jobs.train.inputs.rate: ${{parent.input.rate}} names nothing that an input can be bound to"
        " | Write ${{parent.inputs.<name>}} or ${{parent.jobs.<step>.outputs.<name>}}.",
    ),
    "an output of the job": (
        "parent.outputs.model",
        "parent.outputs.modell",
        "13: jobs.train.outputs.model: the job has no output modell | Did you mean model?",
    ),
    "an output's expression": (
        "${{parent.outputs.model}}",
        "./model",
        "13: jobs.train.outputs.model: ./model is not an output of the job | Write ${{parent.outputs.<name>}}.",
    ),
    "an output of a component": (
        "model: ${{",
        "modle: ${{",
        "13: jobs.train.outputs.modle: the component fit has no output modle | Did you mean model?",
    ),
    "a required input": (
        "      data: azureml:rows:1\n",
        "",
        "9: jobs.train.inputs.data: the required input data (uri_folder) of fit is not given | Add data: under inputs.",
    ),
    "an input without a value": (
        "data: azureml:rows:1",
        "data:",
        "10: jobs.train.inputs.data: the input has no value | Give it a value, or leave the key out.",
    ),
    "a range": (
        "rate: 0.5",
        "rate: 1.5",
        "3: inputs.rate: 1.5 is above the maximum 1 for the number input rate of train | Give a number from 0 to 1.",
    ),
    "a type": (
        "rate: 0.5",
        "rate: fast",
        "3: inputs.rate: fast is not a number for the number input rate of train | Give a number from 0 to 1.",
    ),
    "an enum": (
        "rate: ${{parent.inputs.rate}}",
        "solver: sag",
        "11: jobs.train.inputs.solver: sag is not one of lbfgs, saga for the string input solver of train"
        " | Did you mean saga?",
    ),
    "data for a literal": (
        "rate: 0.5",
        "rate: {path: ./x}",
        "3: inputs.rate: uri_folder data is given to the number input rate of train | It takes a number.",
    ),
    "a literal for data": (
        "data: azureml:rows:1",
        "data: 3",
        "10: jobs.train.inputs.data: the literal 3 is given to the uri_folder input data of train"
        " | Write {type: uri_folder, path: 3}.",
    ),
    "data of another type": (
        "rate: ${{parent.inputs.rate}}",
        "champion: {type: mltable, path: azureml:t:1}",
        "11: jobs.train.inputs.champion: mltable data is given to the mlflow_model input champion of train"
        " | It takes an mlflow_model.",
    ),
    "an infinite number": (
        "rate: 0.5",
        "rate: .inf",
        "3: inputs.rate: inf is not a finite number | Azure ML takes finite numbers only.",
    ),
    "a list": (
        "rate: 0.5",
        "rate: [1]",
        "3: inputs.rate: an input cannot be a list | Give a number, text, or a mapping with type and path.",
    ),
    "a declaration in a job": (
        "rate: 0.5",
        "rate: {type: number, default: 1}",
        "3: inputs.rate: only a component declares the type of a literal | Write the value itself, as in rate: 1.",
    ),
    "a binding in a job": (
        "rate: 0.5",
        "rate: ${{parent.inputs.a}}",
        "3: inputs.rate: an input of a job has no parent to be bound to | Give it a value.",
    ),
    "a registered component": (
        "component: ./fit.yml",
        "component: azureml:fit:1",
        "8: jobs.train.component: the step train runs azureml:fit:1, which is not on this machine"
        " | Name the component's YAML file.",
    ),
    "a kind of step": (
        "component: ./fit.yml",
        "type: sweep",
        "8: jobs.train.type: the step train is of type sweep, which is not supported | Make it a command.",
    ),
    "a kind of component": (
        "./fit.yml",
        "./job.yml",
        "8: jobs.train.component: the step train runs a component of type pipeline, which is not supported"
        " | Make it a command component.",
    ),
    "an empty step": (
        "    component: ./fit.yml\n",
        "",
        "7: jobs.train: the step train has neither component nor command | Add component: ./<file>.yml.",
    ),
    "a kind of job": (
        "type: pipeline",
        "type: automl",
        "1: type: a job of type automl is not supported | Tandem runs command and pipeline jobs.",
    ),
    "a step's name": (
        "  train:",
        "  Train:",
        "7: jobs.Train: Train cannot name a step | Use small letters, digits and underscores.",
    ),
    "a compute": (
        "type: pipeline",
        "settings: {default_compute: cpu}",
        "1: settings.default_compute: cpu is not a compute | Write azureml:cpu, or serverless.",
    ),
    "a number for text": (
        "type: pipeline",
        "display_name: 3",
        "1: display_name: display_name is a number | Make it text, in quotes.",
    ),
    "nothing for text": (
        "type: pipeline",
        "description:",
        "1: description: description is empty | Make it text, or leave it out.",
    ),
    "a tag": (
        "type: pipeline",
        "tags: {a: 1}",
        "1: tags.a: a is a number | Make it text, in quotes.",
    ),
}


@pytest.mark.parametrize(("old", "new", "fault"), JOB_FAULTS.values(), ids=JOB_FAULTS)
def test_one_mistake_in_a_job_is_one_fault(faults: Faults, old: str, new: str, fault: str) -> None:
    assert RIGHT.count(old) == 1
    assert faults(RIGHT.replace(old, new)) == [f"job.yml:{fault}"]


COMPONENT = """\
name: own
type: command
inputs:
  n: {type: integer, default: 3, min: 1}
  o: {type: uri_file, optional: true}
outputs:
  out: {type: uri_folder}
command: run ${{inputs.n}} $[[--o ${{inputs.o}}]] ${{outputs.out}}
environment: azureml:e:1
code: .
"""

COMPONENT_FAULTS = {
    "an undeclared input": (
        "${{inputs.n}}",
        "${{ inputs.m }}",
        "8: command: the command uses ${{inputs.m}}, which is not declared | The inputs are: n, o.",
    ),
    "an undeclared output": (
        "${{outputs.out}}",
        "${{outputs.uot}}",
        "8: command: the command uses ${{outputs.uot}}, which is not declared | Did you mean out?",
    ),
    "an optional input without its brackets": (
        "$[[--o ${{inputs.o}}]]",
        "${{inputs.o}}",
        "8: command: the command uses the optional input o outside of $[[ ]] | Write $[[--o ${{inputs.o}}]].",
    ),
    "a default out of range": (
        "default: 3",
        "default: 0",
        "4: inputs.n: the default 0 is below the minimum 1 | Give an integer from 1.",
    ),
    "a default of another type": (
        "default: 3",
        "default: three",
        "4: inputs.n.default: the default three is not of type integer | Give an integer.",
    ),
    "a type": (
        "type: integer",
        "type: int",
        "4: inputs.n.type: int is not a type that can stand here | Did you mean integer?",
    ),
    "a key of an input": (
        "min: 1",
        "minimum: 1",
        "4: inputs.n.minimum: an integer input cannot have the key minimum | Did you mean min?",
    ),
    "an unquoted choice": (
        "min: 1",
        "enum: [3]",
        "4: inputs.n.enum: the choice 3 is a number | Put every choice of an enum in quotes.",
    ),
    "a default for data": (
        "optional: true",
        "default: a",
        "5: inputs.o.default: an input of type uri_file has no default | Make it optional instead.",
    ),
    "code that is not there": (
        "code: .",
        "code: ./nope",
        "10: code: there is no file or folder ./nope | It is looked for at nope.",
    ),
    "code elsewhere": (
        "code: .",
        "code: git+https://x/y",
        "10: code: git+https://x/y is not on this machine | Name a local folder.",
    ),
    "an include that is not there": (
        "code: .",
        "additional_includes: [a/b]",
        "10: additional_includes: there is no file or folder a/b | It is looked for at a/b.",
    ),
    "no environment": (
        "environment: azureml:e:1\n",
        "",
        "1: environment: there is no environment | Add environment: azureml:<name>@latest.",
    ),
    "an environment without its prefix": (
        "environment: azureml:e:1",
        "environment: e",
        "9: environment: e is not an environment | Write azureml:e, with a version or @latest.",
    ),
    "an environment file without its prefix": (
        "environment: azureml:e:1",
        "environment: ./fit.yml",
        "9: environment: ./fit.yml is not an environment | Write file:./fit.yml.",
    ),
    "an environment of nothing": (
        "environment: azureml:e:1",
        "environment: {version: 1}",
        "9: environment: the environment has neither image nor build | Add image: and, if need be, conda_file:.",
    ),
}


@pytest.mark.parametrize(("old", "new", "fault"), COMPONENT_FAULTS.values(), ids=COMPONENT_FAULTS)
def test_one_mistake_in_a_component_is_one_fault_in_its_own_file(
    faults: Faults, old: str, new: str, fault: str
) -> None:
    job = "jobs:\n  a: {component: own.yml}\n  b: {component: own.yml}\n"
    assert COMPONENT.count(old) == 1
    assert faults(job, own_yml=COMPONENT.replace(old, new)) == [f"own.yml:{fault}"]


def test_a_missing_component_is_one_fault_though_other_steps_read_its_outputs(faults: Faults, tmp_path: Path) -> None:
    text = """\
        jobs:
          prep: {component: ./nope.yml}
          train: {component: ./fit.yml, inputs: {data: "${{parent.jobs.prep.outputs.rows}}"}}
        """
    assert faults(text) == [
        "job.yml:2: jobs.prep.component: there is no file nope.yml | A path is relative to the file that names it."
    ]


def test_every_fault_comes_at_once_in_the_order_of_the_files(faults: Faults) -> None:
    text = RIGHT.replace("fit.yml", "own.yml").replace("rate: 0.5", "rate: 0.5\n  rate: 7")
    own = "name: own\ncommand: x ${{inputs.nope}}\nenvironment: azureml:e:1\nfoo: 1\noutputs: {model: {type: modle}}"
    assert [line.partition(" |")[0] for line in faults(text, own_yml=own)] == [
        "job.yml:4: inputs.rate: the key rate is there twice, first on line 3",
        "job.yml:11: jobs.train.inputs.data: the component own has no input data",
        "job.yml:12: jobs.train.inputs.rate: the component own has no input rate",
        "own.yml:2: command: the command uses ${{inputs.nope}}, which is not declared",
        "own.yml:4: foo: a command component cannot have the key foo",
        "own.yml:5: outputs.model.type: modle is not a type that can stand here",
    ]


STEP = "{{command: 'x ${{{{inputs.i}}}}', environment: 'azureml:e:1', inputs: {{i: '{}'}}, outputs: {{o: }}}}"


@pytest.mark.parametrize(
    ("reads", "fault"),
    [
        ({"a": "a"}, "job.yml:2: jobs.a.inputs.i: the step a reads its own output"),
        (
            {"a": "b", "b": "a"},
            "job.yml:2: jobs.a: the steps run in a circle: a → b → a | Remove one of these bindings.",
        ),
        (
            {"a": "c", "b": "a", "c": "b", "d": "c"},
            "job.yml:2: jobs.a: the steps run in a circle: a → b → c → a | Remove one of these bindings.",
        ),
    ],
)
def test_a_circle_is_a_fault_that_names_its_steps_along_the_flow(
    faults: Faults, reads: dict[str, str], fault: str
) -> None:
    steps = [f"  {name}: {STEP.format(f'${{{{parent.jobs.{read}.outputs.o}}}}')}" for name, read in reads.items()]
    assert faults("\n".join(["jobs:", *steps])) == [fault]


@pytest.mark.parametrize(
    ("output", "port", "fits"),
    [
        ("uri_file", "uri_folder", True),
        ("uri_folder", "uri_file", True),
        ("mlflow_model", "uri_folder", True),
        ("uri_folder", "mlflow_model", True),
        ("uri_file", "mlflow_model", False),
        ("mltable", "mlflow_model", False),
        ("uri_file", "string", False),
    ],
)
def test_an_edge_joins_only_what_azure_ml_lets_it(faults: Faults, output: str, port: str, fits: bool) -> None:
    one = f"name: one\ncommand: x\nenvironment: azureml:e:1\noutputs: {{o: {{type: {output}}}}}"
    two = f"name: two\ncommand: x\nenvironment: azureml:e:1\ninputs: {{i: {{type: {port}}}}}"
    text = "jobs:\n  a: {component: one.yml}\n  b: {component: two.yml, inputs: {i: '${{parent.jobs.a.outputs.o}}'}}"
    article = "a" if port[0] in "su" else "an"
    fault = f"job.yml:3: jobs.b.inputs.i: the {output} a.o is given to the {port} input i of b"
    assert faults(text, one_yml=one, two_yml=two) == ([] if fits else [f"{fault} | It takes {article} {port}."])
