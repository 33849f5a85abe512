"""What MLflow's pages are told of a run and of a model version."""

from dataclasses import replace
from pathlib import Path

from flows.data.assets import ResolvedData
from flows.training.evaluation import METRICS, EvaluationReport
from flows.training.gate import GateDecision
from flows.training.registration import provenance
from flows.training.run_account import description_of, run_account
from tests.training.summaries import SUMMARY, scores

REJECTED = replace(SUMMARY, version=None, decision=GateDecision(False, ("it is *not* better",)))


def test_run_that_was_rejected_is_found_by_its_decision_and_says_why_and_on_which_data() -> None:
    account = run_account(REJECTED, "diabetes")
    assert account.tags == {
        "tandem.decision": "Rejected",
        "tandem.reasons": "it is *not* better",
        "tandem.model": "diabetes",
        "tandem.data": "rows:2",
        "tandem.data_file": "rows.csv",
        "tandem.worse": "Brier score 0.8000, the champion's 0.7500; Log loss 0.8000, the champion's 0.7500",
        "tandem.job": "job-1",
    }
    assert account.description.startswith("**Rejected**: it is &#42;not&#42; better.\n\n")
    assert "- model: diabetes version 3 stays\n" in account.description
    assert "- data: rows:2 (rows.csv)\n" in account.description
    assert account.metrics == dict.fromkeys(METRICS, 0.8)


def test_run_that_was_promoted_names_the_version_that_it_became() -> None:
    account = run_account(SUMMARY, "diabetes")
    assert account.tags["tandem.model_version"] == "4"
    assert "- model: diabetes version 4, alias champion\n" in account.description


def test_run_of_a_job_without_a_gate_says_that_its_model_is_registered() -> None:
    account = run_account(replace(SUMMARY, decision=None, champion=None), "diabetes")
    assert account.tags["tandem.decision"] == "Registered"
    assert account.description.startswith("**Registered**.\n")


def test_version_has_the_tags_of_the_run_that_made_it_and_a_description_of_them() -> None:
    data = ResolvedData("/home/someone/rows.csv", "uri_file", Path("/home/someone/rows.csv"), sha256="ab" * 32)
    report = EvaluationReport(0.5, replace(scores(0.8), values=dict.fromkeys(METRICS, 0.8)), scores(0.85))
    tags = provenance(SUMMARY.outcome, data, report, "flow run", GateDecision(True, ("good",)))
    assert (tags["tandem.decision"], tags["tandem.reasons"]) == ("Promoted", "good")
    assert tags["tandem.worse"].startswith("ROC AUC 0.8000, the champion's 0.8500; ")
    assert tags["tandem.data_file"] == "rows.csv"
    said = description_of(tags)
    assert said.startswith("**Promoted**: good.\n\n- worse than the champion: ROC AUC 0.8000, the champion's 0.8500; ")
    assert "- data: /home/someone/rows.csv (rows.csv, SHA-256 abababababab…)\n- job: job-1" in said
