"""What a sweep is read into, and what a wrong one is told."""

from pathlib import Path

import pytest

from flows.spec.bind import bind, trial
from flows.spec.model.job import JobKind, Literal, ParentInput, Step, StepOutput
from flows.spec.model.sweep import EarlyTermination, Hyperparameter, Objective, Sampling
from flows.spec.render import render_command
from tests.spec.conftest import Faults, ReadJob

JOB = """\
    type: sweep
    trial:
      command: fit ${{inputs.rows}} ${{search_space.rate}} ${{ search_space.solver }} ${{outputs.model}}
      environment: azureml:e:1
      environment_variables: {SEED: 3}
      resources: {instance_count: 1}
    inputs:
      rows: {type: uri_file, path: azureml:rows:1}
    outputs:
      model: {type: mlflow_model}
    sampling_algorithm: {type: random, seed: 7, rule: sobol}
    search_space:
      rate: {type: uniform, min_value: 0.1, max_value: 0.9}
      solver: {type: choice, values: [lbfgs, saga]}
    objective: {goal: Maximize, primary_metric: auc}
    limits: {max_total_trials: 8, max_concurrent_trials: 2, timeout: 600, trial_timeout: 60}
    early_termination: {type: bandit, slack_factor: 0.2, evaluation_interval: 2, delay_evaluation: 3}
"""
NODE = """\
    type: pipeline
    inputs: {rows: {type: uri_folder, path: azureml:rows:1}}
    jobs:
      tune:
        type: sweep
        trial: ./fit.yml
        inputs: {data: "${{parent.inputs.rows}}"}
        outputs: {model: }
        sampling_algorithm: grid
        search_space:
          solver: {type: choice, values: [lbfgs, saga]}
          rate: {type: choice, values: [0.1, 1]}
        objective: {goal: minimize, primary_metric: loss}
        limits: {max_total_trials: 4}
      use:
        command: use ${{inputs.model}}
        environment: azureml:e:1
        inputs: {model: "${{parent.jobs.tune.outputs.model}}"}
"""


def test_a_sweep_job_is_read_whole(read: ReadJob) -> None:
    spec = read(JOB)
    (step,) = spec.steps.values()
    sweep = step.sweep
    assert sweep is not None
    assert (spec.kind, step.kind, step.timeout_seconds) == (JobKind.SWEEP, "sweep", 600)
    assert sweep.search_space == {
        "rate": Hyperparameter("rate", "uniform", min_value=0.1, max_value=0.9),
        "solver": Hyperparameter("solver", "choice", values=("lbfgs", "saga")),
    }
    assert (sweep.sampling, sweep.objective) == (Sampling("random", 7, "sobol"), Objective("maximize", "auc"))
    assert (sweep.max_total_trials, sweep.max_concurrent_trials, sweep.trial_timeout_seconds) == (8, 2, 60)
    assert sweep.early_termination == EarlyTermination("bandit", 2, 3, slack_factor=0.2)
    assert step.component.environment_variables == {"SEED": "3"}
    assert step.inputs == {"rows": ParentInput("rows")}


def test_the_hyperparameters_of_a_trial_in_place_are_inputs_of_it(read: ReadJob) -> None:
    (step,) = read(JOB).steps.values()
    assert {name: port.type for name, port in step.component.inputs.items()} == {
        "rows": "uri_file",
        "rate": "number",
        "solver": "string",
    }
    assert "search_space" not in step.component.command


def test_a_trial_is_the_step_as_a_command_with_its_values_bound(read: ReadJob) -> None:
    (step,) = read(JOB).steps.values()
    one: Step = trial(step, {"rate": "0.3", "solver": "saga"})
    assert (one.kind, one.sweep, one.timeout_seconds) == ("command", None, 60)
    assert one.inputs == {"rows": ParentInput("rows"), "rate": Literal("0.3"), "solver": Literal("saga")}
    texts = {"rows": "r.csv", "rate": "0.3", "solver": "saga"}
    assert render_command(one.component.command, texts, {"model": "m"}) == "fit r.csv 0.3 saga m"


def test_a_sweep_as_a_step_has_its_component_as_the_trial(read: ReadJob, tmp_path: Path) -> None:
    spec = read(NODE)
    tune, use = spec.steps.values()
    assert tune.sweep is not None
    assert tune.component.source == tmp_path / "fit.yml"
    assert tune.sweep.search_space["rate"].values == ("0.1", "1")
    assert use.inputs == {"model": StepOutput("tune", "model")}
    assert spec.refusals == {}


def test_an_input_may_say_that_it_is_searched(read: ReadJob) -> None:
    searched = NODE.replace('rows}}"}', 'rows}}", rate: "${{search_space.rate}}"}', 1)
    assert list(read(searched).steps["tune"].inputs) == ["data"]


@pytest.mark.parametrize("reference", ["./fit.yml", "file:./fit.yml"])
def test_a_sweep_job_may_name_its_trial(read: ReadJob, reference: str) -> None:
    spec = read(f"""\
        type: sweep
        trial: {reference}
        inputs: {{data: {{type: uri_folder, path: azureml:rows:1}}, solver: saga}}
        sampling_algorithm: random
        search_space: {{rate: {{type: loguniform, min_value: -3, max_value: -1}}}}
        objective: {{goal: minimize, primary_metric: loss}}
        limits: {{max_total_trials: 2}}
        """)
    (step,) = spec.steps.values()
    assert (list(spec.inputs), list(step.component.inputs)) == (
        ["data", "solver", "champion"],
        ["data", "rate", "solver", "champion"],
    )
    assert bind(spec, {"solver": "lbfgs"}).inputs["solver"].value == Literal("lbfgs")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{type: randint, upper: 5}", Hyperparameter("rate", "randint", upper=5)),
        (
            "{type: quniform, min_value: 1, max_value: 9, q: 2}",
            Hyperparameter("rate", "quniform", min_value=1, max_value=9, q=2),
        ),
        ("{type: lognormal, mu: 0, sigma: 1}", Hyperparameter("rate", "lognormal", mu=0, sigma=1)),
        ("{type: qnormal, mu: 3, sigma: 1, q: 0.5}", Hyperparameter("rate", "qnormal", mu=3, sigma=1, q=0.5)),
        (
            "{type: uniform, min_value: '0', max_value: 1e-3}",
            Hyperparameter("rate", "uniform", min_value=0, max_value=0.001),
        ),
    ],
)
def test_every_way_to_draw_a_value_is_read(read: ReadJob, text: str, expected: Hyperparameter) -> None:
    (step,) = read(JOB.replace("{type: uniform, min_value: 0.1, max_value: 0.9}", text)).steps.values()
    assert step.sweep is not None
    assert step.sweep.search_space["rate"] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{type: MedianStopping}", EarlyTermination("median_stopping")),
        (
            "{type: truncation_selection, truncation_percentage: 20}",
            EarlyTermination("truncation_selection", truncation_percentage=20),
        ),
        ("{type: bandit, slack_amount: 0.1}", EarlyTermination("bandit", slack_amount=0.1)),
        (
            "{type: bandit, slack_factor: , slack_amount: 0.1, evaluation_interval: , delay_evaluation: }",
            EarlyTermination("bandit", slack_amount=0.1),
        ),
    ],
)
def test_every_policy_is_read(read: ReadJob, text: str, expected: EarlyTermination) -> None:
    (step,) = read(JOB[: JOB.index("early_termination")] + f"early_termination: {text}\n").steps.values()
    assert step.sweep is not None
    assert step.sweep.early_termination == expected


def test_a_search_space_within_a_search_space_is_valid_and_does_not_run_here(read: ReadJob) -> None:
    nested = "values: [{layers: {type: randint, upper: 3}}]}"
    spec = read(JOB.replace("values: [lbfgs, saga]}", nested))
    assert list(spec.refusals.values()) == ["has a search space within its search space, in solver"]


FAULTS = {
    "no search space": ("search_space:", "tags:", "1: search_space: there is no search_space"),
    "a type": (
        "type: uniform",
        "type: unifrom",
        "13: search_space.rate.type: unifrom is not a type that can stand here | Did you mean uniform?",
    ),
    "a key": (
        "min_value: 0.1",
        "min: 0.1",
        "13: search_space.rate.min: a hyperparameter of type uniform cannot have the key min",
    ),
    "no bound": (
        ", max_value: 0.9",
        "",
        "13: search_space.rate.max_value: the uniform rate has no max_value | Add max_value:.",
    ),
    "swapped bounds": (
        "min_value: 0.1",
        "min_value: 1.1",
        "13: search_space.rate.min_value: min_value 1.1 is above max_value 0.9 | Swap them.",
    ),
    "no choice": (
        "[lbfgs, saga]",
        "[]",
        "14: search_space.solver.values: there is nothing to choose from | Add a value.",
    ),
    "a choice": (
        "[lbfgs, saga]",
        "[true]",
        "14: search_space.solver.values: the choice True is true or false | Put it in quotes.",
    ),
    "an algorithm": (
        "type: random",
        "type: randon",
        "11: sampling_algorithm.type: randon is not an algorithm that can stand here | Did you mean random?",
    ),
    "a seed for a grid": (
        "type: random",
        "type: grid",
        "11: sampling_algorithm.seed: grid sampling cannot have the key seed",
    ),
    "a goal": (
        "Maximize",
        "biggest",
        "15: objective.goal: biggest is not a goal that can stand here | The goals are: maximize, minimize.",
    ),
    "no metric": (", primary_metric: auc", "", "15: objective.primary_metric: the objective has no primary_metric"),
    "no number of trials": (
        "max_total_trials: 8, ",
        "",
        "16: limits.max_total_trials: there is no max_total_trials | Add max_total_trials: under limits.",
    ),
    "a limit": (
        "trial_timeout",
        "trial_time_out",
        "16: limits.trial_time_out: the limits of a sweep cannot have the key trial_time_out"
        " | Did you mean trial_timeout?",
    ),
    "a policy": (
        "type: bandit",
        "type: bandid",
        "17: early_termination.type: bandid is not a policy | Did you mean bandit?",
    ),
    "an unknown hyperparameter": (
        "search_space.rate}}",
        "search_space.rat}}",
        "2: trial: the command uses ${{search_space.rat}}, which is not searched | Did you mean rate?",
    ),
    "a key of the trial": (
        "environment_variables",
        "env_variables",
        "5: trial.env_variables: a trial cannot have the key env_variables | Did you mean environment_variables?",
    ),
    "no trial": ("trial:", "tags:", "1: trial: the sweep has no trial | Add trial: with command and environment."),
}


@pytest.mark.parametrize(("old", "new", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_wrong_sweep_is_told(faults: Faults, old: str, new: str, fault: str) -> None:
    assert JOB.count(old) >= 1
    found = faults(JOB.replace(old, new, 1))
    assert any(line.startswith(f"job.yml:{fault}") for line in found), found


NODE_FAULTS = {
    "an input that the trial has not": (
        "solver: {type",
        "solvr: {type",
        "11: jobs.tune.search_space.solvr: the trial fit has no input solvr | Did you mean solver?",
    ),
    "an input that is data": (
        "solver: {type",
        "data: {type",
        "11: jobs.tune.search_space.data: the uri_folder input data of the trial cannot be searched"
        " | Search a literal.",
    ),
    "a choice that the input does not take": (
        "[lbfgs, saga]",
        "[lbfgs, sag]",
        "11: jobs.tune.search_space.solver: sag is not one of lbfgs, saga for the string input solver of tune"
        " | Did you mean saga?",
    ),
    "a choice out of range": (
        "[0.1, 1]",
        "[0.1, 2]",
        "12: jobs.tune.search_space.rate: 2 is above the maximum 1 for the number input rate of tune"
        " | Give a number from 0 to 1.",
    ),
    "a grid of numbers": (
        "{type: choice, values: [0.1, 1]}",
        "{type: uniform, min_value: 0, max_value: 1}",
        "12: jobs.tune.search_space.rate: a grid cannot be made of uniform | Make it a choice, or sample at random.",
    ),
    "a required input": (
        '{data: "${{parent.inputs.rows}}"}',
        "{}",
        "7: jobs.tune.inputs.data: the required input data (uri_folder) of fit is not given | Add data: under inputs.",
    ),
}


@pytest.mark.parametrize(("old", "new", "fault"), NODE_FAULTS.values(), ids=NODE_FAULTS)
def test_a_sweep_that_does_not_fit_its_trial_is_told(faults: Faults, old: str, new: str, fault: str) -> None:
    assert NODE.count(old) == 1
    assert faults(NODE.replace(old, new)) == [f"job.yml:{fault}"]


def test_a_sweep_step_has_a_trial_and_no_component(faults: Faults) -> None:
    step = (
        "{type: sweep, trial: ./fit.yml, component: ./fit.yml, inputs: {data: {path: azureml:rows:1}}, "
        "search_space: {rate: {type: uniform, min_value: 0, max_value: 1}}, sampling_algorithm: random, "
        "objective: {goal: minimize, primary_metric: loss}, limits: {max_total_trials: 2}}"
    )
    assert faults(f"type: pipeline\ncompute: azureml:c\njobs: {{a: {step}}}\n") == [
        "job.yml:3: jobs.a.component: the sweep a has a component, and its work is its trial | Write trial:."
    ]
