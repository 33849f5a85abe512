"""What a person may set, and how Prefect's form and the components see it."""

import math
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from flows.errors import ParameterError
from flows.spec.reading.reader import read_job
from flows.training.evaluation import METRICS, ConfusionMatrix, ModelScores
from flows.training.gate import decide
from flows.training.parameters import (
    EngineParameters,
    JobParameters,
    PipelineParameters,
    TrainingParameters,
    shown_fields,
    validated,
)
from tests.terminal import PROJECT

COMPONENTS = {
    name: step.component
    for name, step in read_job(PROJECT / "aml_steps" / "train_pipeline.yml").steps.items()
    if name in ("prep", "train")
}


def schema_of(model: type[BaseModel], name: str) -> dict[str, Any]:
    return model.model_json_schema()["properties"][name]


@pytest.mark.parametrize(
    ("component", "port"),
    [(component, port) for component in COMPONENTS for port in COMPONENTS[component].inputs if "data" not in port],
)
def test_parameter_allows_nothing_that_its_component_refuses(component: str, port: str) -> None:
    declared = COMPONENTS[component].inputs[port]
    allowed = schema_of(TrainingParameters, port)
    assert tuple(allowed.get("enum", ())) == declared.enum
    if declared.minimum is not None:
        assert allowed.get("minimum", allowed.get("exclusiveMinimum", 0)) >= declared.minimum - 1e-8
    if declared.maximum is not None:
        assert allowed["maximum"] <= declared.maximum


@pytest.mark.parametrize(("flow", "model"), [("train_pipeline", PipelineParameters), ("train_job", JobParameters)])
def test_form_of_a_flow_shows_every_field_with_description_default_range_and_choices(
    flow: str, model: type[BaseModel]
) -> None:
    import importlib

    form = getattr(importlib.import_module(f"flows.{flow}"), flow).parameters.properties
    assert set(form) == set(model.model_fields)
    for name, field in model.model_fields.items():
        assert form[name]["description"] == field.description
        assert form[name]["default"] == field.default
    assert form["solver"]["enum"] == list(get_args(model.model_fields["solver"].annotation))
    assert form["reg_rate"]["exclusiveMinimum"] == 0


@pytest.mark.parametrize(("flow", "model"), [("train_pipeline", PipelineParameters), ("train_job", JobParameters)])
def test_form_of_a_flow_asks_first_what_is_trained_and_last_where_it_runs(flow: str, model: type[BaseModel]) -> None:
    import importlib

    form = getattr(importlib.import_module(f"flows.{flow}"), flow).parameters.properties
    shown = sorted(form, key=lambda name: form[name]["position"])
    assert shown == list(shown_fields(model))
    assert shown[:3] == ["data_asset_name", "reg_rate", "solver"]
    assert shown[-len(EngineParameters.model_fields) :] == list(EngineParameters.model_fields)


def test_every_wrong_value_is_named_at_once_with_the_nearest_right_one() -> None:
    with pytest.raises(ParameterError) as refused:
        validated(PipelineParameters, {"reg_rate": -1, "solver": "libliner", "regrate": 1, "gate_metric": "auc"})
    assert str(refused.value).splitlines() == [
        "reg_rate: input should be greater than 0, not -1.",
        "solver: input should be 'lbfgs', 'liblinear', 'newton-cg', 'newton-cholesky', 'sag' or 'saga', not "
        "'libliner'. Did you mean liblinear?",
        "gate_metric: input should be 'roc_auc', 'average_precision', 'accuracy', 'precision', 'recall', 'f1', "
        "'brier_score_loss' or 'log_loss', not 'auc'. Did you mean roc_auc?",
        "regrate: there is no such parameter. Did you mean reg_rate?",
    ]


def test_gate_is_checked_as_a_whole() -> None:
    with pytest.raises(ParameterError, match=r"floor for roc_auc must be from 0 to 1, not 7\.0"):
        validated(PipelineParameters, {"gate_floor": 7})


def test_gate_offers_every_metric_of_the_evaluation() -> None:
    assert schema_of(PipelineParameters, "gate_metric")["enum"] == list(METRICS)


def test_number_that_is_none_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"reg_rate: input should be a finite number, not nan\."):
        validated(PipelineParameters, {"reg_rate": float("nan")})


@pytest.mark.parametrize("metric", METRICS)
def test_default_floor_of_every_metric_rejects_the_toss_of_a_coin(metric: str) -> None:
    coin = dict.fromkeys(METRICS, 0.5) | {"brier_score_loss": 0.25, "log_loss": math.log(2)}
    gate = validated(PipelineParameters, {"gate_metric": metric}).gate
    assert not decide(ModelScores(coin, ConfusionMatrix(1, 1, 1, 1), 4, 2), None, gate).promoted
    assert validated(PipelineParameters, {"gate_metric": metric, "gate_floor": 0.3}).gate.floor == 0.3
