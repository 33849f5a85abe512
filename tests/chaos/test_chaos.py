"""The harness itself: its plan, its invariants on planted violations, its sight of processes; and a few real cases."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.azure_ml_service.identity import IDENTITY_PATH
from tests.azure_ml_service.service import Service
from tests.chaos.facts import COMPARED_WITH, METRIC, Facts, Job, Ran, Version
from tests.chaos.invariants import INVARIANTS, violations
from tests.chaos.observe import differences, files, litter, open_records, outside
from tests.chaos.plan import KILL, NONE, SCENARIOS, SCORES, Case, Scenario, case, cases
from tests.chaos.processes import below, holds_within, of_target
from tests.chaos.report import Result, table
from tests.chaos.small_pipeline import expected_total, write_pipeline
from tests.chaos.world import PROJECT

# Plan


def test_a_seed_and_a_number_make_the_same_case_each_time() -> None:
    assert [case(7, number) for number in range(200)] == [case(7, number) for number in range(200)]
    assert [case(7, number) for number in range(20)] != [case(8, number) for number in range(20)]


def test_some_forty_cases_have_every_scenario_of_each_engine() -> None:
    for engine in ("local", "azureml", "both"):
        drawn = {found.scenario.name for found in cases(1, range(40), engine)}
        assert drawn == {scenario.name for scenario in SCENARIOS if engine in ("both", scenario.engine)}


# Invariants


def scenario(name: str) -> Scenario:
    return next(one for one in SCENARIOS if one.name == name)


def version(number: int, rate: str, compared: int | None = None, champion: bool = False) -> Version:
    tags = {METRIC: f"{SCORES[rate]:.6f}", "tandem.model_sha256": f"{number:064}"}
    return Version(number, tags | ({} if compared is None else {COMPARED_WITH: str(compared)}), champion)


def ran(code: int = 0, verdict: str | None = "Promoted", number: int | None = 1, index: int = 0) -> Ran:
    return Ran(index, "pipeline", "10", code, "Engine: local", verdict, number)


KILLED = Facts(
    Case(1, 1, scenario("a promotion is killed"), "the version is made", 0.0, KILL, "command", ("10",)),
    first=(ran(-9, None, None),),
    again=(ran(),),
    between=(version(1, "10", champion=True),),
    after=(version(1, "10", champion=True),),
)
RACED = replace(
    KILLED,
    case=Case(1, 2, scenario("promotions at once"), "at once", 0.0, NONE, "command", ("10", "30")),
    first=(ran(), replace(ran(0, "Rejected", None, 1), rate="30")),
    again=(ran(0, "Rejected", None),),
)
ON_AZURE = replace(
    KILLED,
    case=replace(KILLED.case, scenario=scenario("a job on Azure ML is killed")),
    jobs=(Job("a", "Completed"),),
)

PLANTED: dict[str, tuple[str, Facts, Callable[[Facts], Facts]]] = {
    "a command that hangs": ("no_hang", KILLED, lambda facts: replace(facts, again=(replace(ran(), hung=True),))),
    "a traceback on the terminal": (
        "no_traceback",
        KILLED,
        lambda facts: replace(facts, first=(replace(facts.first[0], said="Traceback (most recent call last):"),)),
    ),
    "a process that is left": ("no_orphan", KILLED, lambda facts: replace(facts, orphans=("12 python",))),
    "a record that runs": (
        "no_open_record",
        KILLED,
        lambda facts: replace(facts, open_records=("MLflow run train is RUNNING",)),
    ),
    "a draft": ("no_litter", KILLED, lambda facts: replace(facts, litter=("state/.a.1.2",))),
    "a file elsewhere": ("nothing_outside", KILLED, lambda facts: replace(facts, outside=("gone: home/kept.txt",))),
    "the same model twice": (
        "one_version",
        KILLED,
        lambda facts: replace(facts, after=(*facts.after, replace(facts.after[0], number=2, is_champion=False))),
    ),
    "more versions than decisions": (
        "one_version",
        KILLED,
        lambda facts: replace(facts, after=(*facts.after, version(2, "30"))),
    ),
    "two champions": (
        "one_champion",
        RACED,
        lambda facts: replace(facts, after=(version(1, "30", None, True), version(2, "10", 1, True))),
    ),
    "a promotion without a champion": ("one_champion", KILLED, lambda facts: replace(facts, after=(version(1, "10"),))),
    "a champion within the margin": (
        "champion_would_be_defended",
        RACED,
        lambda facts: replace(facts, after=(version(1, "30"), version(2, "10", 1, True))),
    ),
    "a champion that was never compared": (
        "champion_would_be_defended",
        RACED,
        lambda facts: replace(facts, after=(version(1, "100"), version(2, "10", None, True))),
    ),
    "a job that goes on": ("one_job", ON_AZURE, lambda facts: replace(facts, jobs=(Job("a", "Running"),))),
    "a second job": (
        "one_job",
        ON_AZURE,
        lambda facts: replace(facts, jobs=(Job("a", "Completed"), Job("b", "Canceled"))),
    ),
    "half an output": (
        "outputs_are_whole",
        KILLED,
        lambda facts: replace(facts, again=(replace(ran(), expected={"part-0": "ab"}, delivered={"part-0": "a"}),)),
    ),
    "one of several that fails by itself": (
        "the_others_succeed",
        RACED,
        lambda facts: replace(facts, first=(ran(), ran(1, None, None, 1)), again=(ran(), ran(index=1))),
    ),
    "a second start that fails": ("next_run_succeeds", KILLED, lambda facts: replace(facts, again=(ran(3),))),
    "a run that is rejected against its own model": (
        "right_verdict",
        KILLED,
        lambda facts: replace(facts, again=(ran(0, "Rejected", None),)),
    ),
    "the same model promoted a second time": (
        "right_verdict",
        RACED,
        lambda facts: replace(facts, again=(ran(0, "Promoted", 1),)),
    ),
    "a state that is deleted under a run": (
        "cleaning_is_refused",
        KILLED,
        lambda facts: replace(facts, cleaning=(0, "deleted")),
    ),
    "a request that Azure ML does not know": (
        "contract_is_kept",
        ON_AZURE,
        lambda facts: replace(facts, contract=("nothing answers GET",)),
    ),
}


@pytest.mark.parametrize("facts", [KILLED, RACED, ON_AZURE], ids=["killed", "raced", "on Azure ML"])
def test_a_case_in_which_all_holds_has_no_violation(facts: Facts) -> None:
    assert violations(facts) == {}


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_violation_is_found(what: str) -> None:
    name, facts, plant = PLANTED[what]
    assert name in violations(plant(facts))


def test_every_invariant_has_a_planted_violation() -> None:
    assert {name for name, _, _ in PLANTED.values()} == INVARIANTS.keys()


def test_a_version_that_was_made_but_overtaken_before_it_became_the_champion_may_be_rejected() -> None:
    after = (version(1, "10"), version(2, "30", champion=True))
    killed = replace(RACED.case, signal=KILL)
    overtaken = replace(
        RACED, case=killed, first=(ran(130, None, None), replace(ran(number=2, index=1), rate="30")), after=after
    )
    assert violations(replace(overtaken, between=after, again=(ran(0, "Rejected", None),))) == {}


def test_a_command_that_had_told_its_verdict_when_the_signal_came_is_another_run_when_it_is_started_again() -> None:
    after = (version(1, "30", champion=True),)
    told = replace(KILLED, first=(ran(130, "Promoted", 1),), between=after, after=after)
    assert violations(replace(told, again=(ran(0, "Rejected", None),))) == {}
    assert "right_verdict" in violations(replace(told, again=(ran(0, "Promoted", 1),)))


def test_what_a_step_prints_is_not_taken_for_a_traceback_of_ours() -> None:
    said = "12:00:00  train | Traceback (most recent call last):"
    assert violations(replace(KILLED, again=(replace(ran(), said=said),))) == {}


def test_a_violation_is_printed_with_the_command_that_does_it_again() -> None:
    violated = violations(replace(KILLED, orphans=("12 python",)))
    result = Result.of(KILLED, violated, 3.0, "/tmp/here")
    assert "make chaos CASE=1 SEED=1" in str(result) and "still runs: 12 python" in str(result)
    assert "no_orphan: violated by 1 of 1 cases" in table([result])


# What is seen from outside


def test_open_records_are_read_from_both_databases(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir()
    for file, table_name, column in (
        ("prefect/prefect.db", "flow_run", "state_type"),
        ("mlflow.db", "runs", "status"),
    ):
        connection = sqlite3.connect(tmp_path / file)
        connection.execute(f"create table {table_name} (name, {column})")
        connection.execute(f"insert into {table_name} values ('one', 'RUNNING'), ('other', 'COMPLETED')")
        connection.commit()
        connection.close()
    assert open_records(tmp_path) == ["flow run one is RUNNING", "MLflow run one is RUNNING"]


def test_what_was_made_changed_or_deleted_outside_is_named(tmp_path: Path) -> None:
    for name in ("changed", "gone"):
        (tmp_path / "home" / name).mkdir(parents=True)
        (tmp_path / "home" / name / "a.txt").write_text("a")
    before = outside(tmp_path, PROJECT)
    (tmp_path / "home" / "changed" / "a.txt").write_text("b")
    (tmp_path / "home" / "gone" / "a.txt").unlink()
    (tmp_path / "new.txt").write_text("")
    told = ["new: beside the state: new.txt", "gone: home/gone/a.txt", "changed: home/changed/a.txt"]
    assert differences(before, outside(tmp_path, PROJECT)) == told


def test_drafts_and_remains_of_locks_are_litter(tmp_path: Path) -> None:
    state = tmp_path / "state"
    for name in ("steps/.a.json.12.34", "begun/ab/run.json", "begun/.lock", "steps/a.json"):
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_text("")
    assert litter(state) == ["state/begun/ab", "state/begun/ab/run.json", "state/steps/.a.json.12.34"]


def test_processes_are_seen_below_one_whatever_session_they_are_in() -> None:
    sleeper = "import os, subprocess; os.setsid(); print(subprocess.Popen(['sleep', '60']).pid, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", sleeper], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            assert [one.pid for one in below(process.pid)] == [child]
            assert child not in [one.pid for one in below(os.getpid(), (process.pid,))]
            assert of_target(process.pid, "all") == [process.pid, child]
        finally:
            os.kill(child, signal.SIGKILL)


def test_the_small_pipeline_delivers_what_is_expected_of_it(tmp_path: Path) -> None:
    write_pipeline(tmp_path / "project", "small")
    script = tmp_path / "project" / "code" / "work.py"
    for name, sources in (("first", ()), ("left", ("first",)), ("right", ("first",)), ("last", ("left", "right"))):
        (tmp_path / name).mkdir()
        words = [sys.executable, str(script), "0", f"{name}5", str(tmp_path / name)]
        subprocess.run([*words, *(str(tmp_path / source) for source in sources)], check=True, capture_output=True)
    delivered = {name: (tmp_path / "last" / name).read_text() for name in files(tmp_path / "last")}
    assert delivered == expected_total(5)


@pytest.mark.parametrize("after_work", [False, True])
def test_a_request_that_the_loopback_service_holds_is_answered_once_it_is_released(
    azure_ml: Service, after_work: bool
) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{azure_ml.port}", trust_env=False) as client:
        held = {"method": "GET", "path": IDENTITY_PATH, "after_work": after_work}
        assert client.post("/_control/holds", json=held).status_code == 201
        answers: list[int] = []
        url = client.base_url.join(IDENTITY_PATH)
        asking = threading.Thread(target=lambda: answers.append(httpx.get(url, trust_env=False).status_code))
        asking.start()
        assert holds_within(lambda: client.get("/_control/holds").json() == {"held": 1}, 30.0)
        assert answers == []
        client.delete("/_control/holds")
        asking.join()
        assert answers == [401]
        assert client.get("/_control/holds").json() == {"held": 0}


# Real cases


def chaos(*flags: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-m", "tests.chaos", *flags]
    return subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, timeout=900)


def test_steps_that_are_killed_and_first_starts_at_once_leave_all_in_order() -> None:
    done = chaos("--seed", "13", "--runs", "1", "--scenario", "steps are killed", "first starts at once")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_few_cases_of_many_kinds_leave_all_in_order() -> None:
    done = chaos("--seed", "245", "--runs", "5", "--engine", "local")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_few_cases_on_azure_ml_leave_all_in_order() -> None:
    done = chaos("--seed", "245", "--runs", "2", "--engine", "azureml")
    assert done.returncode == 0, done.stdout + done.stderr
