"""Instance hours and what they cost."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.cli.serving.endpoints import endpoints_as_text
from flows.errors import ParameterError
from flows.rollout.cost import PRICE, Price, cost_a_day, cost_so_far, expected_cost
from flows.rollout.policy import RolloutPolicy
from flows.rollout.summary import DeploySummary, summary_as_json, summary_as_text
from flows.serving.endpoints import Deployment, Endpoint, ServedModel, ServingState
from flows.spec.model.endpoint import OnlineDeploymentSpec

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def deployment(instances: int = 1, hours: float = 10, price: str | None = None) -> Deployment:
    tags = {} if price is None else {PRICE: price}
    created = NOW - timedelta(hours=hours)
    return Deployment("blue", ServingState.SUCCEEDED, instances, "Standard_DS3_v2", created, tags)


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("0.293", Price(0.293)),
        ("0.293 EUR", Price(0.293, "EUR")),
        (" 1 usd ", Price(1, "usd")),
        (".5€", Price(0.5, "€")),
    ],
)
def test_price_is_a_number_with_or_without_a_currency(text: str, price: Price) -> None:
    assert Price.of({PRICE: text}) == price


@pytest.mark.parametrize("text", ["", "EUR", "-1 EUR", "0,3 EUR", "nan", "1e3 EUR", "0.3 EUR an hour"])
def test_other_prices_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ParameterError, match=r"such as 0\.293 EUR"):
        Price.of({PRICE: text})


def test_cost_is_instances_times_hours_and_money_only_where_a_price_is_given() -> None:
    assert cost_a_day([deployment(2)]).text == "48 instance hours"
    assert cost_so_far([deployment(2, hours=10)], NOW).text == "20 instance hours"
    priced = deployment(2, hours=2.25, price="0.5 EUR")
    assert cost_a_day([priced]).text == "48 instance hours (24.00 EUR)"
    assert cost_so_far([priced], NOW).text == "4.5 instance hours (2.25 EUR)"
    assert cost_so_far([priced], NOW).rounded == {"EUR": 2.25}


def test_money_of_several_deployments_is_summed_by_currency_and_the_rest_is_said() -> None:
    there = [deployment(price="0.5 EUR"), deployment(price="0.5 EUR"), deployment(price="1 USD"), deployment()]
    assert cost_a_day(there).text == "96 instance hours (24.00 EUR + 24.00 USD + 24 hours without a price)"


def test_price_that_something_else_has_written_at_a_deployment_counts_as_none() -> None:
    assert cost_a_day([deployment(price="a lot")]).text == "24 instance hours"


def test_expected_cost_of_a_rollout_has_the_time_in_which_old_and_new_exist() -> None:
    spec = OnlineDeploymentSpec(
        "blue", "diabetes", Path("deployment.yml"), instance_type="Standard_DS3_v2", tags={PRICE: "2 EUR"}
    )
    policy = RolloutPolicy(steps=(50, 100), pause_seconds=300, mirror_percent=10, keep_seconds=900)
    alone = "1 × Standard_DS3_v2: 24 instance hours (48.00 EUR) a day, with or without traffic"
    assert expected_cost(spec, policy, 0) == alone
    together = "; old and new exist together for at least 30 min: 0.5 instance hours (1.00 EUR) more"
    assert expected_cost(spec, policy, 1) == alone + together


def test_what_is_served_and_what_was_deployed_are_told_with_what_they_cost_where_they_cost() -> None:
    there = (deployment(hours=2, price="0.5 EUR"),)
    endpoint = Endpoint("diabetes", ServingState.SUCCEEDED, traffic={"blue": 100}, deployments=there)
    *_, said = endpoints_as_text([endpoint], NOW, costs=True)
    assert said == (
        "  24 instance hours (12.00 EUR) a day, with or without traffic; 2.0 instance hours (1.00 EUR) so far."
    )
    assert "hours" not in "".join(endpoints_as_text([endpoint], NOW, costs=False))

    model = ServedModel("m", 2, "2" * 64)
    summary = DeploySummary(model, "azureml", costs=True, endpoint=endpoint, colour="blue", changed=True)
    assert "Cost:     24 instance hours (12.00 EUR) a day, with or without traffic" in summary_as_text(summary)
    assert (summary_as_json(summary)["instance_hours_a_day"], summary_as_json(summary)["cost_a_day"]) == (
        24.0,
        {"EUR": 12.0},
    )
    here = DeploySummary(model, "local", costs=False, endpoint=endpoint, colour="blue", changed=True)
    assert "Cost" not in summary_as_text(here) and summary_as_json(here)["cost_a_day"] == {}


def test_deployment_that_gets_copies_of_requests_is_listed_with_them() -> None:
    there = (deployment(),)
    endpoint = Endpoint("diabetes", ServingState.SUCCEEDED, mirror={"blue": 20}, deployments=there)
    assert "0 %, copies of 20 %" in endpoints_as_text([endpoint], NOW, costs=False)[1]
