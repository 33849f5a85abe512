"""Every field of a step that makes a difference is part of its fingerprint, and no other."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from flows.engines.plan.fingerprint import EXCLUDED, component_part, variables_part
from flows.errors import Place
from flows.spec.model.job import Component, Distribution, InputPort, OutputPort, Step, StepOutput
from flows.spec.model.parallel import Parallel
from flows.spec.model.sweep import EarlyTermination, Hyperparameter, Objective, Sampling, Sweep

SWEEP = Sweep({"rate": Hyperparameter("rate", "choice", ("1", "2"))}, Objective("maximize", "auc"), 4)
PARALLEL = Parallel("score.py", "files")
COMPONENT = Component(
    "train",
    "python train.py",
    Path("train.yml"),
    inputs=MappingProxyType({"rate": InputPort("rate", "number"), "rows": InputPort("rows", "uri_file")}),
    outputs=MappingProxyType({"model": OutputPort("model", "mlflow_model")}),
)
STEP = Step("train", COMPONENT)


def with_input(**changes: Any) -> Step:
    ports = {**COMPONENT.inputs, "rate": replace(COMPONENT.inputs["rate"], **changes)}
    return replace(STEP, component=replace(COMPONENT, inputs=MappingProxyType(ports)))


def with_output(**changes: Any) -> Step:
    ports = {"model": replace(COMPONENT.outputs["model"], **changes)}
    return replace(STEP, component=replace(COMPONENT, outputs=MappingProxyType(ports)))


DIFFERENT = {
    "command": replace(STEP, component=replace(COMPONENT, command="python train.py --fast")),
    "version": replace(STEP, component=replace(COMPONENT, version="2")),
    "type_of_an_input": with_input(type="integer"),
    "optional_input": with_input(optional=True),
    "default": with_input(default="0.1"),
    "empty_default": with_input(default=""),
    "enum": with_input(enum=("1", "2")),
    "minimum": with_input(minimum=0.0),
    "maximum": with_input(maximum=0.0),
    "type_of_an_output": with_output(type="uri_folder"),
    "kind": replace(STEP, kind="parallel"),
    "sweep": replace(STEP, sweep=SWEEP),
    "search_space": replace(
        STEP, sweep=replace(SWEEP, search_space={"rate": Hyperparameter("rate", "choice", ("1", "3"))})
    ),
    "goal": replace(STEP, sweep=replace(SWEEP, objective=Objective("minimize", "auc"))),
    "trials": replace(STEP, sweep=replace(SWEEP, max_total_trials=5)),
    "seed": replace(STEP, sweep=replace(SWEEP, sampling=Sampling(seed=0))),
    "early_termination": replace(STEP, sweep=replace(SWEEP, early_termination=EarlyTermination("bandit"))),
    "parallel": replace(STEP, parallel=PARALLEL),
    **{
        f"parallel_{field.name}": replace(STEP, parallel=replace(PARALLEL, **{field.name: 77}))
        for field in fields(Parallel)
        if field.name not in ("max_concurrency_per_instance", "logging_level")
    },
}
SAME = {
    "name_of_the_step": replace(STEP, name="fit"),
    "compute": replace(STEP, compute="azureml:gpu"),
    "timeout": replace(STEP, timeout_seconds=60),
    "place": replace(STEP, place=Place(Path("p.yml"), 3, "jobs.train")),
    "resources": replace(STEP, declared={"resources": {"shm_size": "2g"}}),
    "binding": replace(STEP, inputs={"rows": StepOutput("prep", "rows")}),
    "source": replace(STEP, component=replace(COMPONENT, source=Path("elsewhere/train.yml"))),
    "display_name": replace(STEP, component=replace(COMPONENT, display_name="Train")),
    "description_of_an_input": with_input(description="How fast."),
    "path_of_an_output": with_output(path="azureml://datastores/blob/paths/x", mode="upload"),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_makes_a_difference_when_it_runs_is_in_the_component(name: str) -> None:
    others = [STEP, *(step for other, step in DIFFERENT.items() if other != name)]

    assert component_part(DIFFERENT[name]) not in [component_part(step) for step in others]


@pytest.mark.parametrize("name", SAME)
def test_what_makes_no_difference_is_not(name: str) -> None:
    assert SAME[name] != STEP or name == "place"
    assert component_part(SAME[name]) == component_part(STEP)


@pytest.mark.parametrize("step", [DIFFERENT["sweep"], DIFFERENT["parallel"]], ids=["sweep", "parallel"])
def test_how_much_runs_at_once_makes_no_difference(step: Step) -> None:
    other = replace(
        step,
        sweep=step.sweep and replace(step.sweep, max_concurrent_trials=2),
        parallel=step.parallel and replace(step.parallel, max_concurrency_per_instance=2, logging_level="DEBUG"),
    )

    assert other != step
    assert component_part(other) == component_part(step)


@dataclass(frozen=True)
class ComponentWithAnotherField(Component):
    network: str | None = None


@dataclass(frozen=True)
class StepWithAnotherField(Step):
    network: str | None = None


@dataclass(frozen=True)
class InputWithAnotherField(InputPort):
    unit: str | None = None


@dataclass(frozen=True)
class OutputWithAnotherField(OutputPort):
    unit: str | None = None


def with_another_field(owner: str, value: str | None) -> Step:
    """The step, where the class of one of its parts has a field more."""
    match owner:
        case "step":
            return StepWithAnotherField("train", COMPONENT, network=value)
        case "component":
            inputs, outputs = COMPONENT.inputs, COMPONENT.outputs
            component = ComponentWithAnotherField(
                COMPONENT.name, COMPONENT.command, COMPONENT.source, inputs=inputs, outputs=outputs, network=value
            )
        case "input":
            inputs = {**COMPONENT.inputs, "rate": InputWithAnotherField("rate", "number", unit=value)}
            component = replace(COMPONENT, inputs=inputs)
        case _:
            outputs = {"model": OutputWithAnotherField("model", "mlflow_model", unit=value)}
            component = replace(COMPONENT, outputs=outputs)
    return replace(STEP, component=component)


@pytest.mark.parametrize("owner", ["step", "component", "input", "output"])
def test_a_field_that_is_added_makes_a_difference_once_it_is_used(owner: str) -> None:
    assert component_part(with_another_field(owner, None)) == component_part(STEP)
    assert component_part(with_another_field(owner, "a")) != component_part(STEP)
    assert component_part(with_another_field(owner, "a")) != component_part(with_another_field(owner, "b"))


def test_only_fields_that_there_are_can_be_excluded_and_each_for_a_reason() -> None:
    for owner, excluded in EXCLUDED.items():
        assert excluded.keys() <= {field.name for field in fields(owner)}, owner
        assert all(excluded.values()), owner


def test_a_hyperparameter_may_be_called_like_a_field_that_is_excluded() -> None:
    def searching(*values: str) -> Step:
        space = {"logging_level": Hyperparameter("logging_level", "choice", values)}
        return replace(STEP, sweep=replace(SWEEP, search_space=space))

    assert component_part(searching("INFO")) != component_part(searching("DEBUG"))


def test_the_results_of_earlier_versions_are_still_found_by_these_keys() -> None:
    step = replace(
        with_input(optional=True, default="", enum=("1", "ż"), minimum=0.0, maximum=2.5, description="How fast."),
        kind="sweep",
        sweep=SWEEP,
        parallel=PARALLEL,
        distribution=Distribution("mpi"),
    )

    assert component_part(STEP) == {
        "name": "train",
        "command": "python train.py",
        "inputs.rate.type": "number",
        "inputs.rows.type": "uri_file",
        "outputs.model.type": "mlflow_model",
    }
    assert dict(component_part(step).items() - component_part(STEP).items()) == {
        "inputs.rate.optional": "True",
        "inputs.rate.default": "",
        "inputs.rate.enum": '["1", "ż"]',
        "inputs.rate.min": "0.0",
        "inputs.rate.max": "2.5",
        "type": "sweep",
        "sweep.search_space.rate.name": "rate",
        "sweep.search_space.rate.type": "choice",
        "sweep.search_space.rate.values": '["1", "2"]',
        "sweep.objective.goal": "maximize",
        "sweep.objective.primary_metric": "auc",
        "sweep.max_total_trials": "4",
        "sweep.sampling.algorithm": "random",
        "sweep.sampling.rule": "random",
        "parallel.entry_script": "score.py",
        "parallel.input_data": "files",
        "parallel.program_arguments": "",
        "parallel.error_threshold": "-1",
        "parallel.mini_batch_error_threshold": "-1",
        "parallel.max_retries": "2",
        "parallel.timeout_seconds": "60",
        "distribution.type": "mpi",
        "distribution.processes": "1",
    }


def test_a_variable_of_the_step_wins_over_that_of_its_component() -> None:
    component = replace(COMPONENT, environment_variables={"A": "1", "B": "2"})

    both = variables_part(replace(STEP, component=component, environment_variables={"A": "3"}))
    assert both == variables_part(replace(STEP, environment_variables={"A": "3", "B": "2"}))
    assert both != variables_part(replace(STEP, component=component))
