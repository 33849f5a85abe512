"""Prefect's pages of a run that was promoted, and the form that starts another."""

from typing import Any

import pytest

from tests.browser.conftest import Shown

STEPS = ("prep", "profile", "train", "evaluate")


@pytest.mark.browser
def test_flow_run_is_shown_as_the_graph_of_its_steps_with_its_log(visit: Any, shown: Shown) -> None:
    (run,) = shown.asked("flow_runs", {"flow_runs": {"state": {"name": {"any_": ["Promoted"]}}}})
    with visit(f"{shown.prefect}/runs/flow-run/{run['id']}") as seen:
        assert "Promoted" in seen.text
        for step in STEPS:
            assert f"{step} | started" in seen.text
        assert seen.page.locator("canvas, svg").count()


@pytest.mark.browser
@pytest.mark.parametrize("key", ["summary", "metrics"])
def test_artifacts_of_the_run_tell_decision_and_metrics(visit: Any, shown: Shown, key: str) -> None:
    promoted = {"flow_runs": {"state": {"name": {"any_": ["Promoted"]}}}}
    (artifact,) = (each for each in shown.asked("artifacts", promoted) if each["key"] == key)
    with visit(f"{shown.prefect}/artifacts/artifact/{artifact['id']}") as seen:
        assert "ROC AUC" in seen.text
        assert "0.8229" in seen.text
        if key == "summary":
            assert "Promoted" in seen.text


@pytest.mark.browser
def test_form_of_a_deployment_shows_each_parameter_with_what_it_means(visit: Any, shown: Shown) -> None:
    wanted = {"flows": {"name": {"any_": ["train-pipeline"]}}, "deployments": {"name": {"any_": ["on-demand"]}}}
    (deployment,) = shown.asked("deployments", wanted)
    with visit(f"{shown.prefect}/deployments/deployment/{deployment['id']}/run", height=3400) as seen:
        properties = deployment["parameter_openapi_schema"]["properties"]
        assert {"reg_rate", "solver", "data_asset_name"} <= properties.keys()
        titles = ["Training: reg_rate", "Split: test_share", "Gate: gate_floor", "Azure ML only: compute_name"]
        assert sorted(titles, key=seen.text.index) == titles
        for name in ("reg_rate", "solver"):
            assert name in seen.text
            assert properties[name]["description"].split(".")[0] in seen.text
