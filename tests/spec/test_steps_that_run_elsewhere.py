"""A valid file may hold steps that only Azure ML runs; each says why."""

from pathlib import Path

import pytest

from flows.errors import SpecError
from flows.spec.model.job import JobKind, StepOutput
from flows.spec.reading.reader import read_job
from tests.spec.conftest import Faults, ReadJob

CONF = (
    "spark.driver.cores: 1, spark.driver.memory: 1g, spark.executor.cores: 1, spark.executor.memory: 1g,"
    " spark.executor.instances: 1"
)
NODES = {
    "spark": (
        "{type: spark, code: ., entry: {file: use.yml}, args: '--i ${{inputs.i}}', conf: {" + CONF + "},"
        " resources: {instance_type: standard_e4s_v3, runtime_version: '3.3'}, inputs: {i: '${{parent.inputs.rows}}'},"
        " outputs: {o: {type: uri_folder, mode: direct}}}",
        "is a Spark job, which needs a Spark cluster",
    ),
    "automl": (
        "{type: automl, task: classification, primary_metric: accuracy, target_column_name: y,"
        " training_data: '${{parent.inputs.rows}}', limits: {max_trials: 3}, outputs: {o: {type: mlflow_model}}}",
        "is an AutoML job, which only Azure ML runs",
    ),
    "import": (
        "{type: import, source: {type: s3, connection: 'azureml:c', path: x}, output: {type: uri_folder}}",
        "imports data through a connection of the workspace",
    ),
    "data_transfer": (
        "{type: data_transfer, task: copy_data, data_copy_mode: merge_with_overwrite,"
        " inputs: {i: '${{parent.inputs.rows}}'}, outputs: {o: {type: uri_folder}}}",
        "moves data between stores of the workspace",
    ),
    "registered": (
        "{component: 'azureml:prep@latest', inputs: {i: '${{parent.inputs.rows}}', n: 3}, outputs: {o: }}",
        "runs azureml:prep@latest, which has no file on this machine",
    ),
    "of a registry": (
        "{component: 'azureml://registries/azureml/components/prep/versions/1', inputs: {n: 3}}",
        "runs azureml://registries/azureml/components/prep/versions/1, which has no file on this machine",
    ),
    "distributed": (
        "{command: echo, environment: 'azureml:e:1', outputs: {o: }, distribution: {type: pytorch}, "
        "resources: {instance_count: 4}}",
        "asks for 4 instances (pytorch), and this machine is one",
    ),
    "remote code": (
        "{command: echo, environment: 'azureml:e:1', outputs: {o: }, code: 'https://github.com/a/b'}",
        "takes its code from https://github.com/a/b, which is not on this machine",
    ),
}
PIPELINE = """\
type: pipeline
inputs: {rows: {type: uri_folder, path: azureml:rows:1}}
jobs:
  a: %s
  b: {component: ./use.yml, inputs: {data: "${{parent.jobs.a.outputs.o}}"}}
"""
USE = "name: use\ncommand: use ${{inputs.data}}\nenvironment: azureml:e:1\ninputs: {data: {type: uri_folder}}"


@pytest.mark.parametrize(("node", "refusal"), NODES.values(), ids=NODES)
def test_a_step_that_cannot_run_here_is_valid_and_says_why(read: ReadJob, node: str, refusal: str) -> None:
    text = PIPELINE % node
    if "output: " in node:  # which nobody can read as data
        text = text[: text.index("  b:")] + "  b: {command: echo, environment: 'azureml:e:1'}\n"
    spec = read(text, use_yml=USE)
    assert spec.refusals == {"a": refusal}
    assert list(spec.steps) == ["a", "b"]


def test_its_consumers_are_bound_and_checked_all_the_same(read: ReadJob, faults: Faults) -> None:
    text = PIPELINE % NODES["spark"][0]
    assert read(text, use_yml=USE).steps["b"].inputs == {"data": StepOutput("a", "o")}
    assert faults(text.replace("outputs.o}}", "outputs.p}}"), use_yml=USE) == [
        "job.yml:5: jobs.b.inputs.data: the step a has no output p | The outputs are: o."
    ]


def test_one_instance_runs_here_whatever_its_distribution(read: ReadJob) -> None:
    step = read(
        "command: echo\nenvironment: azureml:e:1\ndistribution: {type: PyTorch, process_count_per_instance: 2}"
    ).steps["job"]
    assert step.refusal is None
    assert step.distribution is not None
    assert (step.distribution.type, step.distribution.processes) == ("pytorch", 2)


@pytest.mark.parametrize("name", ["azureml:fit:1", "fit:1", "fit"])
def test_a_registered_component_may_be_mapped_to_a_file(read: ReadJob, tmp_path: Path, name: str) -> None:
    text = "jobs: {a: {component: 'azureml:fit:1', inputs: {data: 'azureml:rows:1'}}}"
    assert list(read(text).refusals) == ["a"]
    spec = read_job(tmp_path / "job.yml", {name: tmp_path / "fit.yml"})
    assert spec.refusals == {}
    assert spec.steps["a"].component.source == tmp_path / "fit.yml"


def test_a_component_of_a_registry_is_mapped_by_uri_or_name(read: ReadJob, tmp_path: Path) -> None:
    uri = "azureml://registries/azureml/components/fit/versions/3"
    read(f"jobs: {{a: {{component: '{uri}', inputs: {{data: 'azureml:rows:1'}}}}}}")
    for name in (uri, "fit:3", "fit"):
        assert read_job(tmp_path / "job.yml", {name: tmp_path / "fit.yml"}).refusals == {}


def test_a_mapping_to_a_file_that_is_not_there_is_a_fault(read: ReadJob, tmp_path: Path) -> None:
    read("jobs: {a: {component: 'azureml:fit:1', inputs: {data: 'azureml:rows:1'}}}")
    with pytest.raises(SpecError, match=r"there is no file .*nope\.yml, given for azureml:fit:1"):
        read_job(tmp_path / "job.yml", {"fit": tmp_path / "nope.yml"})


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (
            f"type: spark\nentry: {{file: job.yml}}\ncode: .\nconf: {{{CONF}}}\n"
            "resources: {instance_type: standard_e4s_v3, runtime_version: '3.3'}",
            "spark",
        ),
        (
            "type: automl\ntask: regression\ntarget_column_name: y\ntraining_data: {type: mltable, path: azureml:a:1}",
            "automl",
        ),
        ("type: finetuning\ntask: chat_completion", "finetuning"),
    ],
)
def test_a_job_that_only_azure_ml_runs_is_one_step(read: ReadJob, text: str, kind: str) -> None:
    spec = read(text)
    (step,) = spec.steps.values()
    assert (spec.kind, step.kind) == (JobKind.OTHER, kind)
    assert step.refusal is not None


def test_a_spark_component_has_the_inputs_that_it_declares(read: ReadJob, faults: Faults) -> None:
    spark = "name: s\ntype: spark\nentry: {file: job.yml}\ncode: .\ninputs: {i: {type: uri_file, mode: direct}}\n"
    spark += f"args: ${{{{inputs.i}}}}\nconf: {{{CONF}}}\n"
    given = "compute: azureml:c, inputs: {i: {type: uri_file, path: 'azureml:r:1', mode: direct}}"
    text = f"jobs: {{a: {{type: spark, component: ./spark.yml, {given}}}}}"
    assert list(read(text, spark_yml=spark).refusals) == ["a"]
    assert len(faults(text.replace("i: {type", "j: {type"), spark_yml=spark)) == 2  # unknown, and so missing


def test_what_a_plan_shows_is_kept(read: ReadJob) -> None:
    spec = read("""\
        type: pipeline
        services: {jl: {type: jupyter_lab, nodes: all}}
        settings: {default_compute: serverless, default_datastore: azureml:blob, pace: slow}
        jobs:
          a:
            component: ./fit.yml
            inputs: {data: azureml:rows:1}
            comment: Read first.
            tags: {team: a, tier: 1}
            identity: {type: user_identity}
            queue_settings: {job_tier: Spot, priority: medium}
            resources: {instance_type: STANDARD_D2, instance_count: 2, shm_size: 2g, docker_args: [--ipc, host]}
        """)
    assert spec.declared == {"services": {"jl": {"type": "jupyter_lab", "nodes": "all"}}, "settings": {"pace": "slow"}}
    step = spec.steps["a"]
    assert (step.declared["comment"], step.declared["tags"]) == ("Read first.", {"team": "a", "tier": 1})
    assert (step.declared["queue_settings"]["job_tier"], step.instance_count) == ("Spot", 2)
