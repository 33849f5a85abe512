"""A model trained here and one trained there can be told apart, and the gate says so without deciding otherwise."""

import asyncio
import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from flows.engines.open_engine import open_engine
from flows.orchestration.events import promotion_decided
from flows.settings import Settings
from flows.tags import ENGINE, PACKAGES, PLATFORM, PYTHON
from flows.training.gate import GatePolicy, decide
from flows.training.registration import provenance, told_apart
from flows.training.run_account import run_account
from flows.training.summary import RunSummary, summary_as_json, summary_as_markdown, summary_as_text
from tests.terminal import JOB, Terminal
from tests.training.summaries import SUMMARY

HERE = {"python": "3.11.9", "platform": "Linux x86_64", "packages": "abc"}
TAGS = {"tandem.engine": "local", **{f"tandem.{name}": text for name, text in HERE.items()}}
OUTCOME = replace(SUMMARY.outcome, tags={"tandem.engine": "local"})
REPORT = replace(SUMMARY.report, trained_with=HERE)
OTHERWISE = {
    "tandem.engine": "azureml",
    "tandem.python": "3.12.4",
    "tandem.platform": "Linux aarch64",
    "tandem.packages": "abd",
}


def compared_with(tags: Mapping[str, str] | None) -> RunSummary:
    """A run whose champion has these tags; None: there is no champion."""
    champion = None if tags is None or SUMMARY.champion is None else replace(SUMMARY.champion, tags=tags)
    decision = decide(REPORT.challenger, REPORT.champion, GatePolicy())
    decision = told_apart(decision, OUTCOME, REPORT, champion)
    return replace(SUMMARY, outcome=OUTCOME, report=REPORT, champion=champion, decision=decision)


def test_version_and_run_say_where_and_with_what_the_model_was_trained() -> None:
    tags = provenance(OUTCOME, SUMMARY.data, REPORT, "flow run")
    assert TAGS.items() <= tags.items()
    assert TAGS.items() <= run_account(compared_with(None), "diabetes").tags.items()


def test_what_is_not_known_of_a_job_is_no_tag() -> None:
    tags = provenance(SUMMARY.outcome, SUMMARY.data, SUMMARY.report, "flow run")
    assert not TAGS.keys() & tags.keys()


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("tandem.engine", "engine azureml, not local"),
        ("tandem.python", "Python 3.12.4, not 3.11.9"),
        ("tandem.platform", "platform Linux aarch64, not Linux x86_64"),
        ("tandem.packages", "other packages"),
    ],
)
def test_each_difference_is_said_wherever_the_decision_is_and_changes_nothing_of_it(tag: str, said: str) -> None:
    alike, summary = compared_with(TAGS), compared_with({**TAGS, tag: OTHERWISE[tag]})
    assert alike.decision is not None and summary.decision is not None
    assert (alike.decision.differences, summary.decision.differences) == ((), (said,))
    assert replace(summary.decision, differences=()) == alike.decision
    line = f"the champion was trained otherwise: {said}"
    assert any(found.strip() == f"differs       {line}" for found in summary_as_text(summary).splitlines())
    assert f"- differs: {line}\n" in summary_as_markdown(summary)
    told = summary_as_json(summary)["decision"]
    assert told["differences"] == [said]
    account = run_account(summary, "diabetes")
    assert account.tags["tandem.differences"] == said
    assert f"- {line}\n" in account.description
    assert promotion_decided(summary, "diabetes", "basis").payload["differences"] == [said]


def test_all_differences_are_said_in_one_line() -> None:
    said = (
        "engine azureml, not local; Python 3.12.4, not 3.11.9; platform Linux aarch64, not Linux x86_64; other packages"
    )
    assert run_account(compared_with(OTHERWISE), "diabetes").tags["tandem.differences"] == said


@pytest.mark.parametrize(
    "tags", [None, {}, {"tandem.data": "rows:1"}, TAGS], ids=["no champion", "none", "old", "same"]
)
def test_nothing_is_said_of_a_champion_that_is_the_same_or_was_registered_before_there_were_tags(
    tags: Mapping[str, str] | None,
) -> None:
    summary = compared_with(tags)
    assert summary.decision is not None and summary.decision.differences == ()
    assert "otherwise" not in summary_as_text(summary) + summary_as_markdown(summary)
    assert "tandem.differences" not in run_account(summary, "diabetes").tags


def test_nothing_is_said_of_a_challenger_whose_evaluation_does_not_say_what_it_was_trained_with() -> None:
    decision = decide(REPORT.challenger, REPORT.champion, GatePolicy())
    assert SUMMARY.champion is not None
    champion = replace(SUMMARY.champion, tags=OTHERWISE)
    assert told_apart(decision, SUMMARY.outcome, SUMMARY.report, champion) == decision


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the SDK, which has many
@pytest.mark.parametrize("name", ["local", "azureml"])
def test_model_that_either_engine_trains_is_registered_with_where_and_with_what(
    name: str, request: pytest.FixtureRequest, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace: Mapping[str, str] = {}
    if name == "azureml":
        workspace = request.getfixturevalue("azure_environment").environment
        request.getfixturevalue("azure_client_allowed")
    terminal = Terminal(tmp_path, prefect_api)
    model = terminal.summary(JOB, "--engine", name, "--model_name", "origin", environment=workspace)["model"]
    settings = Settings.from_environment({**terminal.environment, **workspace})

    async def registered() -> Mapping[str, str]:
        async with open_engine(name, settings) as engine:
            version = await engine.registry.version("origin", model["version"])
            return {} if version is None else version.tags

    tags = asyncio.run(registered())
    assert {tag: tags.get(tag) for tag in (ENGINE, PYTHON, PLATFORM)} == {
        ENGINE: name,
        PYTHON: platform.python_version(),
        PLATFORM: f"{platform.system()} {platform.machine()}",
    }
    assert tags[PACKAGES]
