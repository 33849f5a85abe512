"""What a sweep does on this machine, as on Azure ML: its trials, which is the best, and what the sweep delivers."""

import asyncio
import contextlib
import json
import os
import select
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flows.engines.local.host.processes import LocalProcesses
from flows.engines.local.sweep import run as local_sweep
from tests.conftest import Write
from tests.engines.conftest import Await
from tests.engines.jobs import DEADLINE_SECONDS, FILE, JobRunner, Ran, command, delivered_by, pipeline

LOGS = """\
    import sys
    import mlflow

    name, *values = sys.argv[1:]
    for step, value in enumerate(values):
        mlflow.log_metric(name, float(value), step=step)
"""
# Delivers its rate, which is also how good it is.
TRIAL = """\
    import os, sys
    import mlflow

    rate, out = sys.argv[1:]
    mlflow.log_param("rate", float(rate))
    mlflow.log_metric("auc", float(rate))
    with open(out, "w") as file:
        file.write(rate)
    print("sets", os.environ["AZUREML_SWEEP_rate"], os.environ["AZUREML_PARAMETER_rate"], os.environ["AZUREML_RUN_ID"])
"""
BY_RATE = "python trial.py ${{search_space.rate}} ${{outputs.out}}"


def sweep(text: str, *, rates: tuple[Any, ...] = (1, 3, 2), more: Mapping[str, Any] = {}, **limits: Any) -> Any:
    """A sweep over the rate, which maximizes the metric ``auc``."""
    outputs = {"out": FILE} if "outputs.out" in text else {}
    trial = {"command": text, "environment": "azureml:e:1", "code": "./code", "outputs": outputs}
    return {
        "type": "sweep",
        "trial": trial,
        "sampling_algorithm": "grid",
        "search_space": {"rate": {"type": "choice", "values": list(rates)}},
        "objective": {"goal": "maximize", "primary_metric": "auc"},
        "limits": {"max_total_trials": 10, **limits},
        **more,
    }


def trials_of(ran: Ran, name: str = "tune") -> list[dict[str, Any]]:
    log = ran.step(name).log
    assert log is not None
    return json.loads(log.with_name("trials.json").read_text())["trials"]


def said(ran: Ran, name: str = "tune") -> str:
    log = ran.step(name).log
    assert log is not None
    return log.read_text()


def test_the_best_trial_feeds_the_next_step_and_all_is_reused(
    local_jobs: JobRunner, local_processes: LocalProcesses, write: Write, run: Await
) -> None:
    use = command("cat ${{inputs.x}} > ${{outputs.y}}", inputs={"x": delivered_by("tune")}, outputs={"y": FILE})
    write({"job.yml": pipeline({"tune": sweep(BY_RATE), "use": use}), "code/trial.py": TRIAL})
    ran = local_jobs.run(local_jobs.request(job_name="job"))

    assert ran.statuses() == {"tune": "Completed", "use": "Completed"}
    assert ran.step("use").outputs["y"].read_text() == "3"
    assert [(it["values"], it["metric"], it["status"], it["best"]) for it in trials_of(ran)] == [
        ({"rate": "1"}, 1.0, "Completed", False),
        ({"rate": "3"}, 3.0, "Completed", True),
        ({"rate": "2"}, 2.0, "Completed", False),
    ]
    header, one, best, _ = said(ran).splitlines()[-4:]
    assert header.split() == ["trial", "rate", "auc", "status", "seconds"]
    assert (one.split()[:4], best.split()[-1]) == (["1", "1", "1", "Completed"], "best")
    log = (ran.folder / "steps/tune/trials/2/user_logs/std_log.txt").read_text()
    assert log == "sets 3 3 job-tune_2\n"

    async def kept(run_id: str) -> dict[str, Any]:
        return await local_processes.request("run_metrics", run_id=run_id)

    run_id = ran.step("tune").mlflow_run_id
    assert run_id is not None
    assert run(kept(run_id)) == {"auc": 3.0}

    again = local_jobs.run()
    assert again.outcome.reused == ("tune", "use")


def test_a_sweep_job_has_an_mlflow_run_for_each_trial_below_its_own(
    local_jobs: JobRunner, local_processes: LocalProcesses, write: Write
) -> None:
    job = sweep(BY_RATE)
    job["outputs"] = job["trial"].pop("outputs")
    write({"job.yml": json.dumps(job), "code/trial.py": TRIAL})
    ran = local_jobs.run()
    assert Path(ran.outcome.outputs["out"]).read_text() == "3"

    (step,) = ran.outcome.steps
    uri = local_processes.environment["MLFLOW_TRACKING_URI"]
    with contextlib.closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as store:
        found = store.execute(
            "select r.name, r.status, p.key, p.value from tags t join runs r using (run_uuid) left join params p"
            " using (run_uuid) where t.key = 'mlflow.parentRunId' and t.value = ? order by r.name",
            (step.mlflow_run_id,),
        ).fetchall()
    assert found == [(f"{step.name}/{n}", "FINISHED", "rate", f"{rate}.0") for n, rate in ((1, 1), (2, 3), (3, 2))]


def test_no_more_trials_run_at_once_than_the_limit_allows(local_jobs: JobRunner, write: Write) -> None:
    """Two wait for each other; a third would show itself to one of them."""
    folder = local_jobs.folder / "seen"
    folder.mkdir()
    text = (
        f"touch {folder}/${{{{search_space.rate}}}}; "
        f"until [ $(ls {folder} | wc -l) -ge 2 ] || [ -e {folder}.2 ]; do sleep 0.05; done; "
        f"touch {folder}.2; ls {folder} | wc -l; sleep 0.2; rm {folder}/${{{{search_space.rate}}}}"
    )
    limits: dict[str, Any] = {"max_concurrent_trials": 2, "trial_timeout": DEADLINE_SECONDS}
    write({"job.yml": pipeline({"tune": sweep(text, rates=(1, 2, 3, 4), **limits)}), "code/x": ""})
    ran = local_jobs.run()

    assert ran.statuses() == {"tune": "Failed"}  # nothing is logged here
    assert "logged a number as auc" in ran.step("tune").message
    assert [it["status"] for it in trials_of(ran)] == ["Completed"] * 4
    counts = [int(log.read_text()) for log in ran.folder.glob("steps/tune/trials/*/user_logs/std_log.txt")]
    assert max(counts) == 2


def test_a_trial_that_fails_does_not_fail_the_sweep(local_jobs: JobRunner, write: Write) -> None:
    fails = TRIAL.replace("rate, out =", "sys.argv[1] == '3' and sys.exit(3)\n    rate, out =")
    write({"job.yml": pipeline({"tune": sweep(BY_RATE)}), "code/trial.py": fails})
    ran = local_jobs.run()

    found = [(it["status"], it["best"]) for it in trials_of(ran)]
    assert found == [("Completed", False), ("Failed", False), ("Completed", True)]
    assert ran.step("tune").outputs["out"].read_text() == "2"


@pytest.mark.parametrize(
    ("limit", "said"),
    [("timeout", "The step tune ran longer than its limit of 1 s"), ("trial_timeout", "The step tune/1 ran longer")],
)
def test_trials_end_with_their_own_time_and_with_that_of_the_sweep(
    limit: str, said: str, local_jobs: JobRunner, write: Write
) -> None:
    limits: dict[str, Any] = {limit: 1}
    write({"job.yml": pipeline({"tune": sweep("sleep 1000", rates=(1,), **limits)}), "code/x": ""})
    ran = local_jobs.run()

    assert said in ran.step("tune").message
    assert ran.statuses() == {"tune": "Failed"}


def test_a_sweep_none_of_whose_trials_complete_says_the_last_words_of_the_first(
    local_jobs: JobRunner, write: Write
) -> None:
    write({"job.yml": pipeline({"tune": sweep("echo no luck with ${{search_space.rate}}; exit 3")}), "code/x": ""})
    ran = local_jobs.run()

    assert ran.statuses() == {"tune": "Failed"}
    message = ran.step("tune").message
    assert "none of its 3 trials completed" in message
    assert "exit code 3" in message and "no luck with 1" in message and "no luck with 2" not in message


def test_a_sweep_whose_trials_log_another_metric_says_which(local_jobs: JobRunner, write: Write) -> None:
    tune = sweep("python log.py loss ${{search_space.rate}}", rates=(1,))
    write({"job.yml": pipeline({"tune": tune}), "code/log.py": LOGS})
    message = local_jobs.run().step("tune").message

    assert "no trial logged a number as auc, its primary_metric. What they logged: loss." in message


def test_a_policy_stops_a_trial_that_does_badly(
    local_jobs: JobRunner, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_sweep, "LOOK_SECONDS", 0.1)
    policy = {"type": "bandit", "slack_amount": 1, "evaluation_interval": 1}
    limits: dict[str, Any] = {"max_concurrent_trials": 1, "trial_timeout": DEADLINE_SECONDS}
    more = {"early_termination": policy}
    tune = sweep("python log.py auc ${{search_space.rate}}", rates=(3, 1), more=more, **limits)
    hangs = LOGS + "    import time\n    time.sleep(1000 if values == ['1'] else 0)\n"
    write({"job.yml": pipeline({"tune": tune}), "code/log.py": hangs})
    ran = local_jobs.run()

    assert [(it["status"], it["metric"]) for it in trials_of(ran)] == [("Completed", 3.0), ("Canceled", 1.0)]
    assert ran.statuses() == {"tune": "Completed"}
    assert "trial 2 is stopped early by bandit" in said(ran)


def test_bayesian_sampling_says_that_it_is_random_here(local_jobs: JobRunner, write: Write) -> None:
    tune = sweep("exit 1", rates=(1,), more={"sampling_algorithm": "bayesian"})
    write({"job.yml": pipeline({"tune": tune}), "code/x": ""})

    assert "bayesian sampling is random on this machine" in said(local_jobs.run())


def test_a_cancelled_sweep_leaves_no_process_and_its_finished_trials_are_reused(
    write: Write, run: Await, tmp_path: Path, local_jobs: JobRunner
) -> None:
    os.mkfifo(tmp_path / "pids")
    hangs = "    if os.path.exists(PIDS) and sys.argv[1] == '1':\n        open(PIDS, 'w').write(str(os.getpid()))\n"
    hangs = hangs.replace("PIDS", repr(str(tmp_path / "pids"))) + "        __import__('time').sleep(1000)\n"
    tune = sweep(BY_RATE, rates=(3, 1), max_concurrent_trials=1)
    write(
        {
            "job.yml": pipeline({"tune": tune}),
            "code/trial.py": TRIAL.replace("rate, out =", f"\n{hangs}\n    rate, out ="),
        }
    )
    request = local_jobs.request(job_name="job")

    async def cancelled() -> int:
        running = asyncio.create_task(local_jobs.running(request))
        end = os.pidfd_open(int(await asyncio.to_thread((tmp_path / "pids").read_text)))
        running.cancel()
        await asyncio.wait([running], timeout=DEADLINE_SECONDS)
        assert running.done()
        return end

    end = run(cancelled())
    assert select.select([end], [], [], 0)[0]
    os.close(end)

    (tmp_path / "pids").unlink()
    again = local_jobs.run(request)
    assert [(it["status"], it["reused"]) for it in trials_of(again)] == [("Completed", True), ("Completed", False)]
    assert again.step("tune").outputs["out"].read_text() == "3"
