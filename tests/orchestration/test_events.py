"""What Prefect is told: names, payload and resource, once for a fact; on a real server."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from flows.data.assets import ResolvedData
from flows.engines.runs import RunOutcome, RunStatus
from flows.mlflow_store.model_registry import ModelVersion
from flows.orchestration.events import Fact, data_registered, drift_detected, emit, promotion_decided, run_skipped
from flows.training.evaluation import METRICS, ConfusionMatrix, EvaluationReport, ModelScores
from flows.training.gate import GateDecision
from flows.training.summary import RunSummary, SkippedRun
from tests.prefect_client import asking
from tests.waiting import until

DATA = ResolvedData("rows:2", "uri_file", Path("/data/rows.csv"), "rows", "2")
SCORES = ModelScores(dict.fromkeys(METRICS, 0.8), ConfusionMatrix(1, 1, 1, 1), 4, 2)


def summary(
    job: str = "job-1", promoted: bool = True, champion: ModelVersion | None = None, reason: str = "it is so"
) -> RunSummary:
    return RunSummary(
        title="pipeline",
        engine="local",
        data=DATA,
        outcome=RunOutcome(job, RunStatus.COMPLETED, (), {}, {}, where=job, url="https://studio/job-1"),
        report=EvaluationReport(0.5, SCORES, SCORES if champion else None),
        decision=GateDecision(promoted, (reason,)),
        champion=champion,
        version=ModelVersion("diabetes", 4, True, "champion", "source", "run") if promoted else None,
        evaluation=Path("evaluation"),
    )


def told(api: str, fact: Fact) -> list[dict[str, Any]]:
    """The events of a fact that the server has kept, once it has any."""
    asked = {"filter": {"id": {"id": [str(fact.id)]}}}
    with asking(api) as client:
        return until(lambda: client.post("/events/filter", json=asked).json()["events"])


def test_decision_of_the_gate_carries_what_a_person_needs_to_know() -> None:
    champion = ModelVersion("diabetes", 3, False, "champion", "source", "run")
    promoted, rejected = (
        promotion_decided(summary(promoted=yes, champion=champion), "diabetes", "basis") for yes in (True, False)
    )
    assert (promoted.event, rejected.event) == ("tandem.model.promoted", "tandem.model.rejected")
    assert promoted.resource_id == rejected.resource_id == "tandem.model.diabetes"
    said = promoted.payload
    assert (said["version"], said["champion_version"], said["verdict"]) == (4, 3, "Promoted")
    assert (said["data_asset"], said["job"], said["studio_url"]) == ("rows:2", "job-1", "https://studio/job-1")
    assert said["metrics"] == said["champion_metrics"] == dict(SCORES.values)
    assert said["table"].splitlines()[0].split() == ["metric", "challenger", "champion", "difference"]
    assert rejected.payload["version"] is None


def test_same_fact_has_the_same_id_and_another_has_another() -> None:
    facts = [
        promotion_decided(summary(), "diabetes", "basis"),
        promotion_decided(summary(promoted=False), "diabetes", "basis"),
        promotion_decided(summary("job-2"), "diabetes", "basis"),
        promotion_decided(summary(), "other", "basis"),
        data_registered(DATA, "aa"),
        data_registered(DATA, "bb"),
        run_skipped("run-1", "diabetes", SkippedRun("pipeline", "local", DATA, "nothing changed", None)),
        run_skipped("run-2", "diabetes", SkippedRun("pipeline", "local", DATA, "nothing changed", None)),
        *(
            drift_detected("diabetes", 1, trained_on="rows:1", data_asset="rows:2", sha256=sha, reasons=[], features={})
            for sha in ("aa", "bb")
        ),
    ]
    assert len({fact.id for fact in facts}) == len(facts)
    assert promotion_decided(summary(), "diabetes", "basis").id == facts[0].id


def test_rejection_is_the_same_fact_whichever_job_it_came_from_unless_something_that_matters_differs() -> None:
    third, fourth = (ModelVersion("diabetes", number, False, "champion", "source") for number in (3, 4))
    once = promotion_decided(summary("job-1", promoted=False, champion=third), "diabetes", "basis")
    assert promotion_decided(summary("job-2", promoted=False, champion=third), "diabetes", "basis").id == once.id
    others = [
        promotion_decided(summary("job-1", promoted=False, champion=fourth), "diabetes", "basis"),
        promotion_decided(summary("job-1", promoted=False, champion=third), "diabetes", "other data"),
        promotion_decided(summary("job-1", promoted=False, champion=third, reason="but so"), "diabetes", "basis"),
    ]
    assert len({once.id, *(fact.id for fact in others)}) == 4


def test_fact_is_kept_once_however_often_it_is_told(prefect_api: str) -> None:
    fact = data_registered(DATA, "told-twice")
    assert asyncio.run(emit(fact))
    asyncio.run(emit(fact))  # at once, as a second process might; the server has not written the first down yet
    assert len(told(prefect_api, fact)) == 1
    assert not asyncio.run(emit(fact))
    (event,) = told(prefect_api, fact)
    assert (event["event"], event["payload"]["data_asset"]) == ("tandem.data.registered", "rows:2")
    assert event["resource"] == {"prefect.resource.id": "tandem.data-asset.rows", "prefect.resource.name": "rows"}


def test_event_of_a_flow_run_is_related_to_it_and_to_its_tags(prefect_api: str) -> None:
    fact = data_registered(DATA, "from a flow run")

    @flow
    async def telling() -> str:
        from prefect import tags
        from prefect.runtime import flow_run

        with tags("later"):
            await emit(fact)
        return flow_run.id

    from prefect import tags

    with tags("tandem"):
        run_id: Any = asyncio.run(telling())  # type: ignore[arg-type]
    (event,) = told(prefect_api, fact)
    related = {(each["prefect.resource.role"], each["prefect.resource.id"]) for each in event["related"]}
    assert related == {("flow-run", f"prefect.flow-run.{run_id}"), ("tag", "prefect.tag.tandem")}


def test_flow_goes_on_when_prefect_cannot_be_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        assert not asyncio.run(emit(data_registered(DATA, "told to nobody")))
    assert "the event tandem.data.registered could not be emitted, so nobody is told" in caplog.text
