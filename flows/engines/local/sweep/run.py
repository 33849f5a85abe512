"""Sweep step on this machine: runs its trials, some at once, and delivers the outputs of the best one."""

import asyncio
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import get_run_logger

from flows.engines.local.job_runs import JobRuns
from flows.engines.local.step import StepRunner, TrialRun
from flows.engines.local.sweep import search
from flows.engines.local.sweep.trials import SweepTrial, best_of, trials_as_json, trials_as_lines
from flows.engines.plan.steps import Planner, StepPlan
from flows.engines.plan.store import StepRecord
from flows.engines.runs import RunStatus, StepOutcome
from flows.engines.step_events import StepEvent, StepPhase, end_of
from flows.engines.task_runs import report
from flows.errors import TandemError
from flows.machine.own_folders import claim, copy_by_links, remove
from flows.mlflow_store.model_registry import MlflowTracking
from flows.spec.bind import trial as bound
from flows.spec.model.job import StepOutput
from flows.spec.model.sweep import EarlyTermination
from flows.spec.text.names import inside

LOOK_SECONDS = 1.0  # how often the metric of running trials is read, where a policy may stop them


class LocalSweep:
    """One sweep of one job, run once."""

    def __init__(
        self,
        job_name: str,
        plan: StepPlan,
        folder: Path,
        delivered: Mapping[StepOutput, Path],
        planner: Planner,
        runner: StepRunner,
        runs: JobRuns,
        tracking: MlflowTracking,
    ) -> None:
        assert plan.step.sweep is not None
        self._job_name = job_name
        self._plan = plan
        self._step = plan.step
        self._sweep = plan.step.sweep
        self._folder = folder
        self._delivered = delivered
        self._planner = planner
        self._runner = runner
        self._runs = runs
        self._tracking = tracking
        self._run_id: str | None = None
        self._trials: dict[int, SweepTrial] = {}
        self._running: dict[int, asyncio.Task[StepOutcome]] = {}
        self._log = folder / "user_logs" / "std_log.txt"
        self._logger: Any = get_run_logger()

    async def run(self) -> StepOutcome:
        """Run the trials, and deliver what the best of them delivered."""
        name = self._step.name
        claim(self._folder)
        self._log.parent.mkdir(exist_ok=True)
        self._log.write_text("")
        self._run_id = await self._runs.open_step(name)
        report(StepEvent(name, StepPhase.STARTED))
        started = time.monotonic()
        try:
            failure = await self._search()
            trials, objective = list(self._trials.values()), self._sweep.objective
            best = best_of(trials, objective)
            failure = failure or await self._why_no_best(best)
            self._write(best)
            for line in trials_as_lines(trials, objective, best):
                self._say(line)
            outputs = {} if best is None or failure else await asyncio.to_thread(self._take_outputs, best)
            if best is not None and best.run_id is not None and self._run_id is not None:
                await self._tracking.log_params(self._run_id, best.values)
                await self._tracking.log_metrics(self._run_id, await self._tracking.run_metrics(best.run_id))
        except BaseException:
            await self._runs.close(self._run_id, "KILLED")
            raise
        seconds = time.monotonic() - started
        if failure:
            await self._runs.close(self._run_id, "FAILED")
            message = f"The step {name} {failure}\n  Whole log: {self._log}"
            return StepOutcome(name, RunStatus.FAILED, seconds=seconds, log=self._log, message=message)
        return await self._runner.keep(self._plan, outputs, self._log, seconds, self._run_id)

    async def _search(self) -> str:
        """Run all trials. Returns why the sweep has failed; empty if no reason is known yet."""
        sweep = self._sweep
        instead = search.is_random_instead(sweep)
        if instead is not None:
            self._say(f"{instead} sampling is random on this machine")
        waiting = (SweepTrial(number, values) for number, values in enumerate(search.trials(sweep), 1))
        lanes = min(sweep.max_concurrent_trials or os.cpu_count() or 1, sweep.max_total_trials)
        watching = asyncio.create_task(self._watch(sweep.early_termination)) if sweep.early_termination else None
        try:
            async with asyncio.timeout(self._step.timeout_seconds), asyncio.TaskGroup() as group:
                for _ in range(lanes):
                    group.create_task(self._lane(waiting))
        except TimeoutError:
            return (
                f"ran longer than its limit of {self._step.timeout_seconds} s and was stopped. "
                "Trials that had completed are kept and will be reused."
            )
        finally:
            if watching is not None:
                watching.cancel()
        return ""

    async def _lane(self, waiting: Iterator[SweepTrial]) -> None:
        """Run one trial after the other, as long as there are any."""
        for trial in waiting:
            self._trials[trial.number] = trial
            try:
                await self._try(trial)
            except TandemError as error:
                trial.status, trial.message = RunStatus.FAILED, str(error)
                await self._runs.close(trial.run_id, "FAILED")
            self._write()
            report(end_of(trial.outcome(self._trial_name(trial))))
            self._say(trial.ended(self._sweep.objective))

    async def _try(self, trial: SweepTrial) -> None:
        """Run one trial, or take what an earlier run of it delivered."""
        number, name = trial.number, self._trial_name(trial)
        plan = await asyncio.to_thread(self._planner.plan, bound(self._step, trial.values), self._delivered)
        if plan.record is not None and await self._reuse(trial, name, plan.record):
            return
        self._say(f"trial {number}: {' '.join(f'{key}={value}' for key, value in trial.values.items())}")
        trial.run_id = await self._runs.open_step(name, self._run_id)
        variables = {
            "AZUREML_RUN_ID": f"{self._job_name}-{self._step.name}_{number}",
            **{f"AZUREML_SWEEP_{key}": value for key, value in trial.values.items()},
            **{f"AZUREML_PARAMETER_{key}": value for key, value in trial.values.items()},
        }
        command = self._runner.run(
            replace(plan, step=replace(plan.step, name=name)),
            self._folder / "trials" / str(number),
            TrialRun(trial.run_id, variables),
        )
        running = self._running[number] = asyncio.create_task(command)
        trial.status = RunStatus.CANCELED
        started = time.monotonic()
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            running.cancel()
            await asyncio.wait([running])
            raise
        finally:
            trial.seconds = time.monotonic() - started
            del self._running[number]
        if running.cancelled():
            await self._runs.close(trial.run_id, "KILLED")  # wherever it was when it was stopped
        else:
            outcome = running.result()
            trial.status, trial.outputs, trial.message = outcome.status, outcome.outputs, outcome.message
        if trial.run_id is not None:
            trial.reports = await self._history(trial.run_id)
            # Not before: the script may log them itself, and MLflow takes no other text for a param that is there.
            await self._tracking.add_params(trial.run_id, trial.values)

    def _trial_name(self, trial: SweepTrial) -> str:
        return f"{self._step.name}/{trial.number}"

    async def _reuse(self, trial: SweepTrial, name: str, record: StepRecord) -> bool:
        """Take over a finished trial, if it is still known how good it was."""
        if record.mlflow_run_id is not None:
            with suppress(TandemError):
                trial.reports = await self._history(record.mlflow_run_id)
        if not trial.reports:
            return False
        trial.run_id = await self._runs.repeat_step(name, record.mlflow_run_id, self._run_id)
        trial.status, trial.reused, trial.seconds = RunStatus.COMPLETED, True, record.seconds
        trial.outputs = {output: self._planner.store.path(stored) for output, stored in record.outputs.items()}
        return True

    async def _history(self, run_id: str) -> Sequence[float]:
        return await self._tracking.metric_history(run_id, self._sweep.objective.primary_metric)

    async def _watch(self, policy: EarlyTermination) -> None:
        """Look at the metric of the running trials again and again, and stop those that the policy gives up."""
        judged: dict[int, int] = {}
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for number in list(self._running):
                trial = self._trials[number]
                with suppress(TandemError):  # whoever reads the metric in the end gets the error
                    trial.reports = await self._history(trial.run_id) if trial.run_id is not None else ()
            reports = {number: trial.reports for number, trial in self._trials.items()}
            for number, running in list(self._running.items()):
                own = reports[number]
                intervals = range(judged.get(number, 0) + 1, len(own) + 1)
                judged[number] = len(own)
                if any(
                    search.should_stop_early(policy, self._sweep.objective, number, {**reports, number: own[:interval]})
                    for interval in intervals
                ):
                    self._say(f"trial {number} is stopped early by {policy.type}")
                    running.cancel()

    async def _why_no_best(self, best: SweepTrial | None) -> str:
        """Why no trial is the best; empty if one is."""
        if best is not None:
            return ""
        completed = [trial for trial in self._trials.values() if trial.status is RunStatus.COMPLETED]
        if not completed:
            first = next((trial.message for trial in self._trials.values() if trial.message), "All were stopped early.")
            return f"failed: none of its {len(self._trials)} trials completed. {first}"
        runs = [trial.run_id for trial in completed if trial.run_id is not None]
        logged = sorted({name for run_id in runs for name in await self._tracking.run_metrics(run_id)})
        return (
            f"failed: no trial logged a number as {self._sweep.objective.primary_metric}, its primary_metric. "
            f"What they logged: {', '.join(logged) or 'no metric at all'}. "
            "Log it with mlflow.log_metric, or name another primary_metric."
        )

    def _take_outputs(self, best: SweepTrial) -> dict[str, Path]:
        """Put the outputs of the best trial where those of the step belong."""
        remove(self._folder, "outputs")  # an earlier try of this very job may have left it
        folder = self._folder / "outputs"
        folder.mkdir()
        outputs = {name: inside(folder, name) for name in best.outputs}
        for name, source in best.outputs.items():
            copy_by_links(source, outputs[name])
        return outputs

    def _write(self, best: SweepTrial | None = None) -> None:
        """Write down all trials so far, for machines."""
        written = trials_as_json(list(self._trials.values()), self._sweep.objective, best)
        self._log.with_name("trials.json").write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")

    def _say(self, line: str) -> None:
        """Say something in the step's own log and in that of the flow."""
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"{line}\n")
        self._logger.info("%s | %s", self._step.name, line)
