"""What a wrong file is told, word by word."""

from pathlib import Path

import pytest

from tests.spec.conftest import Faults

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


FIRST_AND_LAST = """\
type: pipeline
settings: {on_init: opens, on_finalize: closes}
jobs:
  opens: {component: ./fit.yml, inputs: {data: azureml:rows:1}}
  train: {component: ./fit.yml, inputs: {data: azureml:rows:1}}
  closes: {component: ./fit.yml, inputs: {data: azureml:rows:1}}
"""


def test_what_runs_before_and_after_all_other_steps_is_right(faults: Faults) -> None:
    assert faults(FIRST_AND_LAST) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("on_init: opens", "on_init: open", "2: settings.on_init: the job has no step open | Did you mean opens?"),
        ("on_init: opens", "on_init: closes", "2: settings.on_finalize: on_init and on_finalize are both closes"),
        ("  train: {", "  # train: {", "2: settings: no step runs between on_init and on_finalize"),
        (
            "closes: {component: ./fit.yml, inputs: {data: azureml:rows:1}}",
            'closes: {component: ./fit.yml, inputs: {data: "${{parent.jobs.train.outputs.model}}"}}',
            "2: settings.on_finalize: closes is bound to train",
        ),
        (
            "train: {component: ./fit.yml, inputs: {data: azureml:rows:1}}",
            'train: {component: ./fit.yml, inputs: {data: "${{parent.jobs.opens.outputs.model}}"}}',
            "2: settings.on_init: opens is bound to train",
        ),
    ],
)
def test_what_runs_before_or_after_all_other_steps_stands_alone(faults: Faults, old: str, new: str, fault: str) -> None:
    assert old in FIRST_AND_LAST
    (told,) = faults(FIRST_AND_LAST.replace(old, new, 1))
    assert told.startswith(f"job.yml:{fault}")


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
    "a kind of step": (
        "component: ./fit.yml",
        "type: comand",
        "8: jobs.train.type: the step train is of type comand, which does not exist | Did you mean command?",
    ),
    "a kind of component": (
        "component: ./fit.yml",
        "type: parallel\n    component: ./fit.yml",
        "8: jobs.train.type: the step train is of type parallel, and its component of type command"
        " | Write type: command.",
    ),
    "a pipeline in itself": (
        "./fit.yml",
        "./job.yml",
        "8: jobs.train.component: the pipeline job.yml is a step of itself | Remove this step.",
    ),
    "an empty step": (
        "    component: ./fit.yml\n",
        "",
        "7: jobs.train: the step train has neither component nor command | Add component: ./<file>.yml.",
    ),
    "a kind of job": (
        "type: pipeline",
        "type: pipelin",
        "1: type: a job cannot be of type pipelin | Did you mean pipeline?",
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
    "a datastore": (
        "type: pipeline",
        "settings: {default_datastore: blob}",
        "1: settings.default_datastore: blob is not a datastore | Write azureml:blob.",
    ),
    "an input of the preview": (
        "${{parent.inputs.rate}}",
        "${{inputs.rate}}",
        "11: jobs.train.inputs.rate: ${{inputs.rate}} names nothing that an input can be bound to"
        " | Write ${{parent.inputs.rate}}.",
    ),
    "an output of the preview": (
        "${{parent.outputs.model}}",
        "${{outputs.model}}",
        "13: jobs.train.outputs.model: ${{outputs.model}} is not an output of the job"
        " | Write ${{parent.outputs.model}}.",
    ),
    "an input of another step": (
        "${{parent.inputs.rate}}",
        "${{parent.jobs.prep.inputs.rate}}",
        "11: jobs.train.inputs.rate: the job has no step prep | The steps are: train.",
    ),
    "an input of a step that it has not": (
        "${{parent.inputs.rate}}",
        "${{parent.jobs.train.inputs.rte}}",
        "11: jobs.train.inputs.rate: the step train has no input rte | Did you mean rate?",
    ),
    "an input bound to itself": (
        "${{parent.inputs.rate}}",
        "${{parent.jobs.train.inputs.rate}}",
        "11: jobs.train.inputs.rate: the inputs of the steps are bound in a circle | Give one of them a value.",
    ),
    "a setting bound to nothing": (
        "    component: ./fit.yml",
        "    resources: {instance_count: '${{parent.inputs.nodes}}'}\n    component: ./fit.yml",
        "8: jobs.train.resources: the job has no input nodes | The inputs of the job are: rate.",
    ),
    "an output of the job that is text": (
        "{type: mlflow_model}",
        "./models",
        "5: outputs.model: the output model is text | Write {type: uri_folder}, or leave it empty.",
    ),
    "a mode of an output": (
        "{type: mlflow_model}",
        "{type: mlflow_model, mode: ro_mount}",
        "5: outputs.model.mode: ro_mount is not a mode that can stand here | Did you mean rw_mount?",
    ),
    "a type and a value": (
        "rate: 0.5",
        "rate: {type: number, value: 0.5}",
        "3: inputs.rate: only a component declares the type of a literal | Write the value itself, as in rate: 1.",
    ),
    "jobs and a component": (
        "type: pipeline",
        "component: ./fit.yml",
        "1: component: a pipeline job has either jobs or a component | Remove one of the two.",
    ),
    "a job file as a step": (
        "  train:\n    component: ./fit.yml\n    inputs:\n      data: azureml:rows:1\n"
        "      rate: ${{parent.inputs.rate}}\n    outputs:\n      model: ${{parent.outputs.model}}\n",
        "  train: file:./train.yml\n",
        "7: jobs.train: there is no file train.yml | A path is relative to the file that names it.",
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


COMMAND = """\
command: run ${{inputs.rows}} ${{outputs.model}}
environment: azureml:e:1
code: .
inputs: {rows: {type: uri_file, path: azureml:rows:1}}
outputs: {model: {type: mlflow_model}}
resources: {instance_count: 1}
distribution: {type: pytorch, process_count_per_instance: 1}
queue_settings: {job_tier: spot}
identity: {type: managed}
limits: {timeout: 60}
"""
COMMAND_FAULTS = {
    "a key": ("identity", "identty", "9: identty: a command job cannot have the key identty | Did you mean identity?"),
    "a key of a component": (
        "identity: {type: managed}",
        "trial: 1",
        "9: trial: a command job cannot have the key trial | The keys are: ",
    ),
    "no command": (
        "command: run ${{inputs.rows}} ${{outputs.model}}\n",
        "type: command\n",
        "1: command: there is no command",
    ),
    "an empty command": (
        "run ${{inputs.rows}} ${{outputs.model}}",
        '"  "',
        "1: command: there is no command | Add command: with what the step runs.",
    ),
    "code that is not there": (
        "code: .",
        "code: ./scr",
        "3: code: there is no file or folder ./scr | It is looked for at scr.",
    ),
    "a key of data": (
        "uri_file, path",
        "uri_file, pth",
        "4: inputs.rows.pth: a data input cannot have the key pth | Did you mean path?",
    ),
    "a type of data": (
        "uri_file,",
        "uri_fil,",
        "4: inputs.rows.type: uri_fil is not a type that can stand here | Did you mean uri_file?",
    ),
    "a mode of data": (
        "uri_file,",
        "uri_file, mode: mount,",
        "4: inputs.rows.mode: mount is not a mode that can stand here | Did you mean ro_mount?",
    ),
    "a key of an output": (
        "mlflow_model}",
        "mlflow_model, pat: x}",
        "5: outputs.model.pat: an output cannot have the key pat | Did you mean path?",
    ),
    "a key of the resources": (
        "instance_count",
        "instances",
        "6: resources.instances: resources cannot have the key instances | Did you mean instance_type?",
    ),
    "a number of instances": (
        "instance_count: 1",
        "instance_count: 0",
        "6: resources.instance_count: instance_count is 0 | Make it 1 or more.",
    ),
    "a kind of distribution": (
        "pytorch",
        "torch",
        "7: distribution.type: torch is not a type that can stand here | Did you mean pytorch?",
    ),
    "a distribution without a type": (
        "type: pytorch, ",
        "",
        "7: distribution: the distribution has no type | The types are: mpi, pytorch, ray, tensorflow.",
    ),
    "a key of the distribution": (
        "process_count_per_instance",
        "worker_count",
        "7: distribution.worker_count: a distribution of type pytorch cannot have the key worker_count",
    ),
    "a tier": (
        "spot",
        "spto",
        "8: queue_settings.job_tier: spto is not a tier that can stand here | Did you mean spot?",
    ),
    "an identity": (
        "type: managed",
        "type: manager",
        "9: identity.type: manager is not a type that can stand here | Did you mean managed?",
    ),
    "a limit": (
        "timeout",
        "time_out",
        "10: limits.time_out: limits cannot have the key time_out | Did you mean timeout?",
    ),
    "a time": ("timeout: 60", "timeout: 1h", "10: limits.timeout: timeout is text | Make it a whole number."),
}


@pytest.mark.parametrize(("old", "new", "fault"), COMMAND_FAULTS.values(), ids=COMMAND_FAULTS)
def test_one_mistake_in_a_command_job_is_one_fault(faults: Faults, old: str, new: str, fault: str) -> None:
    assert COMMAND.count(old) == 1
    found = faults(COMMAND.replace(old, new))
    assert len(found) == 1
    assert found[0].startswith(f"job.yml:{fault}")


def test_a_right_command_job_has_no_faults(faults: Faults) -> None:
    assert faults(COMMAND) == []


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
    "a range of a text": (
        "type: integer, default: 3, min: 1",
        "type: string, default: a, min: 1",
        "4: inputs.n.min: a string input cannot have the key min | The keys are: default, description, enum, optional,"
        " type.",
    ),
    "a range of a flag": (
        "type: integer, default: 3, min: 1",
        "type: boolean, default: true, max: many",
        "4: inputs.n.max: a boolean input cannot have the key max | The keys are: default, description, enum, optional,"
        " type.",
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
    "what the client cannot send": (
        "code: .",
        "intellectual_property: {publisher: p}",
        "10: intellectual_property: the Azure ML client cannot send a component with the key intellectual_property"
        " | Leave it out.",
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


SCHEMA = "$schema: https://azuremlschemas.azureedge.net/latest/%sComponent.schema.json\n"
PARALLEL = """\
type: parallel
name: own
inputs: {rows: {type: uri_folder}}
input_data: ${{inputs.rows}}
task: {type: run_function, entry_script: e.py, environment: azureml:e:1}
"""
PIPELINE = "type: pipeline\nname: own\njobs:\n  a: {command: date, environment: azureml:e:1}\n"
IGNORED = {
    "an empty type of a command": (SCHEMA % "command" + COMPONENT).replace("type: command", "type:"),
    "a component of a parallel component": SCHEMA % "parallel" + PARALLEL + "component: ./fit.yml\n",
    "an empty component of a parallel component": SCHEMA % "parallel" + PARALLEL + "component:\n",
    "a component of a pipeline component": SCHEMA % "pipeline" + PIPELINE + "component: ./fit.yml\n",
    "an empty component of a pipeline component": SCHEMA % "pipeline" + PIPELINE + "component:\n",
    "an empty mark of property": SCHEMA % "command" + COMPONENT + "intellectual_property:\n",
}


@pytest.mark.parametrize("text", IGNORED.values(), ids=IGNORED)
def test_the_file_of_a_component_may_have_what_azure_ml_ignores_there(faults: Faults, text: str) -> None:
    assert faults(text) == []


@pytest.mark.parametrize("kind", ["command", "parallel", "pipeline"])
def test_a_component_of_each_kind_is_refused_with_what_the_client_cannot_send(faults: Faults, kind: str) -> None:
    text = {"command": COMPONENT, "parallel": PARALLEL, "pipeline": PIPELINE}[kind]
    told = faults(f"{SCHEMA % kind}{text}intellectual_property: {{publisher: p}}\n")
    assert [line.partition(":")[2].partition(": ")[2].partition(":")[0] for line in told] == ["intellectual_property"]


OPTIONAL = "type: pipeline\nname: own\ninputs: {n: {type: number, optional: true}}\njobs:\n  a: {%s}\n"
DECLARED = "component: {type: command, command: 'x %s', environment: 'azureml:e:1', inputs: {m: {type: number%s}}}"
BOUND = "inputs: {m: '${{parent.inputs.n}}'}"


@pytest.mark.parametrize(
    "step",
    [
        f"{DECLARED % ('${{inputs.m}}', '')}, {BOUND}",
        f"{DECLARED % ('${{inputs.m}}', ', default: 1')}, {BOUND}",
        f"command: 'x $[[${{{{inputs.m}}}}]]', environment: 'azureml:e:1', {BOUND}",
    ],
    ids=["required", "with a default", "in place"],
)
def test_an_optional_input_of_a_pipeline_is_bound_to_optional_ones_only(faults: Faults, step: str) -> None:
    assert faults(SCHEMA % "pipeline" + OPTIONAL % step) == [
        "job.yml:4: inputs.n: the optional input n is bound to the input m of a, which is not"
        " | Make both optional, or neither."
    ]


@pytest.mark.parametrize("schema", ["", SCHEMA % "pipeline"], ids=["by a step", "alone"])
def test_a_wrong_optional_input_is_told_once_wherever_the_pipeline_stands(faults: Faults, schema: str) -> None:
    step = f"{DECLARED % ('${{inputs.m}}', '')}, {BOUND}"
    job = "type: pipeline\njobs:\n  p: {component: own.yml}\n  q: {component: own.yml}\n"
    told = faults(job, own_yml=schema + OPTIONAL % step)
    assert len(told) == 1
    assert told[0].startswith("own.yml:")


def test_an_optional_input_bound_to_an_optional_one_is_right(faults: Faults) -> None:
    step = f"{DECLARED % ('$[[${{inputs.m}}]]', ', optional: true')}, {BOUND}"
    assert faults(SCHEMA % "pipeline" + OPTIONAL % step) == []


@pytest.mark.parametrize("name", ["", "3", "n"])
def test_an_environment_in_place_may_have_any_name(faults: Faults, name: str) -> None:
    assert faults(f"command: date\nenvironment: {{image: a, name: {name}}}\n") == []


@pytest.mark.parametrize("kind", ["command", "parallel", "pipeline"])
def test_the_version_of_a_component_of_each_kind_is_text_or_a_number(faults: Faults, kind: str) -> None:
    text = {"command": COMPONENT, "parallel": PARALLEL, "pipeline": PIPELINE}[kind]
    told = faults(f"{text}version:\n")
    assert [line.partition(": ")[2] for line in told] == ["version: version is empty | Make it text, or leave it out."]


def test_the_type_of_a_job_may_not_be_empty(faults: Faults) -> None:
    assert faults(COMMAND + "type:\n") == ["job.yml:11: type: type is empty | Make it text, or leave it out."]


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
    own = "name: own\ncommand: x ${{inputs.nope}}\nenvironment: azureml:e:1\ncodes: 1\noutputs: {model: {type: modle}}"
    assert [line.partition(" |")[0] for line in faults(text, own_yml=own)] == [
        "job.yml:4: inputs.rate: the key rate is there twice, first on line 3",
        "job.yml:11: jobs.train.inputs.data: the component own has no input data",
        "job.yml:12: jobs.train.inputs.rate: the component own has no input rate",
        "own.yml:2: command: the command uses ${{inputs.nope}}, which is not declared",
        "own.yml:4: codes: a command component cannot have the key codes",
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
