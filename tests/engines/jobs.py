"""Jobs for the tests of the engines: their YAML in a few words, a way to run them, and what Prefect has of them."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State, TaskRun
from prefect.client.schemas.sorting import TaskRunSort

from flows.engines.engine import Engine
from flows.engines.polling import Timeouts
from flows.engines.runs import PipelineRequest, RunOutcome, StepOutcome
from flows.errors import TandemError
from flows.spec.bind import bind
from flows.spec.reading.reader import read_job

DEADLINE_SECONDS = 20  # nothing here waits so long unless it hangs
COMPUTE = "azureml:cpu-cluster-01"
AS_LONG_AS_IT_TAKES = Timeouts()
FILE, FOLDER = {"type": "uri_file"}, {"type": "uri_folder"}

_numbers = itertools.count(1)


def command(text: str, *, inputs: Mapping[str, Any] = {}, outputs: Mapping[str, Any] = {}, **more: Any) -> Any:
    """A command: a component, a step of a pipeline, or a whole job."""
    shell = {"type": "command", "environment": {"image": "ubuntu:22.04"}, "command": text}
    return {**shell, "inputs": dict(inputs), "outputs": dict(outputs), **more}


def pipeline(
    steps: Mapping[str, Any], *, inputs: Mapping[str, Any] = {}, outputs: Mapping[str, Any] = {}, **settings: Any
) -> str:
    """A pipeline of these steps, as YAML."""
    top = {"type": "pipeline", "settings": {"default_compute": COMPUTE, **settings}}
    return json.dumps({**top, "inputs": dict(inputs), "outputs": dict(outputs), "jobs": dict(steps)}, indent=1)


def job(text: str, **more: Any) -> str:
    """A job of one command, as YAML."""
    return json.dumps(command(text, compute=COMPUTE, **more), indent=1)


def delivered_by(step: str, output: str = "out") -> str:
    """What another step delivers."""
    return f"${{{{parent.jobs.{step}.outputs.{output}}}}}"


@dataclass(frozen=True)
class Ran:
    """A job that was run: what the engine says of it, how its flow run ended, and its task runs by name."""

    outcome: RunOutcome
    state: State[Any]
    task_runs: Mapping[str, TaskRun]
    fetched: Mapping[str, Path] = field(default_factory=dict[str, Path])
    failed_by_machine: bool = False

    @property
    def folder(self) -> Path:
        """The folder of a job on this machine."""
        return Path(self.outcome.where)

    def step(self, name: str) -> StepOutcome:
        return next(step for step in self.outcome.steps if step.name == name)

    def statuses(self) -> dict[str, str]:
        return {step.name: str(step.status) for step in self.outcome.steps}

    def states(self) -> dict[str, str]:
        """The name of the state of every step's task run."""
        return {name: run.state_name or "" for name, run in self.task_runs.items()}

    def edges(self) -> set[tuple[str, str]]:
        """Which task run waited for which, as the graph of the flow run shows it."""
        names = {str(run.id): name for name, run in self.task_runs.items()}
        sources = {name: run.task_inputs.get("wait_for", []) for name, run in self.task_runs.items()}
        return {(names[str(source.id)], name) for name, found in sources.items() for source in found}  # type: ignore[union-attr]


class JobRunner:
    """Runs jobs on one engine, each as the only content of a Prefect flow."""

    def __init__(
        self,
        engine: Literal["local", "azureml"],
        open_engine: Callable[[Timeouts], AbstractAsyncContextManager[Engine]],
        folder: Path,
        run: Callable[..., Any],
    ) -> None:
        self.engine = engine
        self.folder = folder
        self._open = open_engine
        self._run = run

    def request(self, file: str = "job.yml", inputs: Mapping[str, object] = {}, **more: Any) -> PipelineRequest:
        """A file of the test's folder, asked for under a name that is new unless one is given."""
        spec = bind(read_job(self.folder / file), inputs)
        name = more.pop("job_name", None) or f"{self.engine}-{self.folder.name}-{next(_numbers)}"
        return PipelineRequest(spec, name.replace("_", "-"), "tests", **more)

    def run(
        self,
        request: PipelineRequest | None = None,
        *,
        fetch: tuple[str, ...] = (),
        timeouts: Timeouts = AS_LONG_AS_IT_TAKES,
    ) -> Ran:
        """Run a job to its end, fetch outputs of it, and wait until Prefect's server has all of its task runs."""
        return self._run(self.running(request or self.request(), fetch=fetch, timeouts=timeouts))

    def run_all(self, *requests: PipelineRequest, fetch: tuple[str, ...] = ()) -> list[Ran]:
        """Run jobs at once, each in a flow run of its own."""

        async def all_of_them() -> list[Ran]:
            return list(await asyncio.gather(*(self.running(request, fetch=fetch) for request in requests)))

        return self._run(all_of_them())

    def errors_of(self, requests: Sequence[PipelineRequest], timeouts: Timeouts) -> list[str]:
        """Run jobs at once, which are all to end with an error of ours, and return what the errors say."""

        async def error_of(request: PipelineRequest) -> str:
            with pytest.raises(TandemError) as raised:
                await self.running(request, timeouts=timeouts)
            return str(raised.value)

        async def all_of_them() -> list[str]:
            return list(await asyncio.gather(*map(error_of, requests)))

        return self._run(all_of_them())

    async def running(
        self, request: PipelineRequest, *, fetch: tuple[str, ...] = (), timeouts: Timeouts = AS_LONG_AS_IT_TAKES
    ) -> Ran:
        """The same as :meth:`run`, as a coroutine."""
        fetched: dict[str, Path] = {}
        by_machine = False

        async def body(engine: Engine) -> RunOutcome:
            outcome = await engine.wait(await engine.submit(request))
            nonlocal by_machine
            by_machine = engine.failed_by_machine(outcome)
            for output in fetch:
                fetched[output] = await engine.fetch(
                    outcome, output, self.folder / "fetched" / request.job_name / output
                )
            return outcome

        outcome, state = await self.flow(body, timeouts)
        if not state.is_completed():
            await state.aresult()
        return Ran(outcome, state, await task_runs(state, len(outcome.steps)), fetched, by_machine)

    def in_flow(self, body: Callable[[Engine], Awaitable[Any]]) -> Any:
        """What a body that uses the engine in a flow run returns or raises."""
        return self.in_flows(body)[0]

    def in_flows(self, *bodies: Callable[[Engine], Awaitable[Any]]) -> list[Any]:
        """The same for several at once, each in a flow run of its own."""

        async def result(body: Callable[[Engine], Awaitable[Any]]) -> Any:
            value, state = await self.flow(body)
            return value if state.is_completed() else await state.aresult()

        async def all_of_them() -> list[Any]:
            return list(await asyncio.gather(*map(result, bodies)))

        return self._run(all_of_them())

    async def flow(
        self, body: Callable[[Engine], Awaitable[Any]], timeouts: Timeouts = AS_LONG_AS_IT_TAKES
    ) -> tuple[Any, State[Any]]:
        """Use the engine in a flow run; returns what the body did (None if it raised), and how the flow run ended."""
        values: list[Any] = [None]

        @flow(name="job")
        async def job_flow() -> None:
            async with self._open(timeouts) as engine:
                values.append(await body(engine))

        in_flow: Any = job_flow
        state: State[Any] = await in_flow(return_state=True)
        return values[-1], state


async def task_runs(state: State[Any], expected: int) -> dict[str, TaskRun]:
    """The task runs of a flow run, by name, as Prefect's server has them once all have ended."""
    flow_run_id = state.state_details.flow_run_id
    assert flow_run_id is not None
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    async with get_client() as client, asyncio.timeout(DEADLINE_SECONDS):
        while True:
            runs = await client.read_task_runs(flow_run_filter=wanted, sort=TaskRunSort.NAME_ASC, limit=200)
            found = {run.name: run for run in runs if run.state and run.state.is_final()}
            if len(found) == expected:
                return found
            await asyncio.sleep(0.05)
