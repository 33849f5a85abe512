"""Control flow of a job on this machine: decides choices, and runs loops, each iteration as steps of its own."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from prefect.client.schemas.objects import State

from flows.engines.local.control.collected import collect
from flows.engines.plan.steps import Planner, literal_in
from flows.engines.runs import RunStatus, StepOutcome
from flows.errors import RunError
from flows.machine.own_folders import claim_empty
from flows.spec.control import bound_item, delivered_in, item_values, items_in, iteration_steps
from flows.spec.graph import order_of
from flows.spec.model.control import CONDITION, ITEMS, Body, DoWhile, IfElse, ParallelFor
from flows.spec.model.job import InputBinding, InputPort, Step, StepOutput
from flows.spec.text.names import inside
from flows.spec.text.words import counted

Ended: TypeAlias = tuple[StepOutcome, State[Any]]
Start: TypeAlias = Callable[[Mapping[str, Step]], Sequence["asyncio.Task[Ended]"]]


class ControlFlow:
    """The choices and loops of one job while it runs."""

    def __init__(
        self, steps: Mapping[str, Step], planner: Planner, delivered: Mapping[StepOutput, Path], start: Start
    ) -> None:
        """Decide and run nothing yet.

        Args:
            steps: The steps of the job.
            planner: What knows the values of inputs.
            delivered: What steps have delivered so far; the job adds to it.
            start: Starts the steps of an iteration, which then belong to the job.
        """
        self._steps = dict(steps)  # with those of iterations, which may have loops in them
        self._planner = planner
        self._delivered = delivered
        self._start = start
        self._choices: dict[str, bool] = {}
        self._left_out: set[str] = set()
        self._iterations: dict[str, list[str]] = {}

    def why_left_out(self, step: Step, missing: Sequence[str]) -> str | None:
        """Why a step is not to run though nothing failed, as the end of a sentence; None where that is not so.

        Args:
            step: The step, whose upstream steps are over.
            missing: Those of them that did not deliver what it requires.
        """
        for choice, wanted in step.when.only_if:
            if choice in self._left_out:
                return f"{choice} was left out"
            if self._choices.get(choice, wanted) is not wanted:
                return f"the condition of {choice} was {str(not wanted).lower()}"
        absent = [name for name in missing if name in self._left_out]
        return f"it reads from {' and '.join(absent)}, which was left out" if absent else None

    def why_undecided(self, step: Step) -> str | None:
        """The choice that was to decide over a step and could not; None where all have."""
        return next((choice for choice, _ in step.when.only_if if choice not in self._choices), None)

    def leave_out(self, name: str) -> None:
        """Note that a step does not run because of a choice."""
        self._left_out.add(name)

    def in_order(self, names: Iterable[str]) -> list[str]:
        """Steps of the job with those of iterations, each before the loop that ran it."""
        return [each for name in names for each in (*self.in_order(self._iterations.get(name, ())), name)]

    async def run(self, step: Step, folder: Path) -> tuple[StepOutcome, Sequence[State[Any]]]:
        """Decide a choice, or run a loop to its end.

        Args:
            step: The choice or loop.
            folder: Where a loop over items collects what they deliver.

        Returns:
            How it ended, and the states of the steps that it ran last.

        Raises:
            TandemError: A value that it needs is not there or is wrong.
        """
        started = time.monotonic()
        match step.control:
            case IfElse():
                return self._decided(step, step.control), []
            case DoWhile():
                outcome, states = await self._do_while(step, step.control)
            case ParallelFor():
                outcome, states = await self._parallel_for(step, step.control, folder)
            case None:
                raise AssertionError(f"{step.name} is no control flow")
        return replace(outcome, seconds=time.monotonic() - started), states

    def _decided(self, step: Step, control: IfElse) -> StepOutcome:
        value = self._received(step, CONDITION).lower() == "true"
        self._choices[step.name] = value
        chosen = control.true_block if value else control.false_block
        verb = "runs" if len(chosen) == 1 else "run"
        what = f"{', '.join(chosen)} {verb}" if chosen else "nothing runs for it"
        return StepOutcome(step.name, RunStatus.COMPLETED, message=f"The condition is {str(value).lower()}: {what}.")

    async def _do_while(self, step: Step, control: DoWhile) -> tuple[StepOutcome, Sequence[State[Any]]]:
        given: dict[str, InputBinding] = {}
        most, iteration, states = control.max_iteration_count, "1", list[State[Any]]()
        why = f"max_iteration_count is {most}"
        for number in range(1, most + 1):
            iteration = str(number)
            ended = await self._iteration(step, control.body, iteration, given)
            states = [state for _, state in ended]
            if (outcome := _unfinished(step, ended)) is not None:
                return outcome, states
            if control.condition is not None and not self._holds(control, iteration):
                why = f"{control.condition} was false"
                break
            given = {name: delivered_in(control.body, iteration, output) for name, output in control.mapping.items()}
        found = {output: delivered_in(control.body, iteration, output) for output in control.body.delivers}
        outputs = {output: self._delivered[port] for output, port in found.items() if port in self._delivered}
        message = f"Ended after {counted(int(iteration), 'iteration')}: {why}."
        return StepOutcome(step.name, RunStatus.COMPLETED, outputs=outputs, message=message), states

    def _holds(self, control: DoWhile, iteration: str) -> bool:
        assert control.condition is not None
        port = delivered_in(control.body, iteration, control.condition)
        if port not in self._delivered:
            raise RunError(f"the condition {control.condition} was not delivered by {port.step}.")
        return literal_in(self._delivered[port], "boolean").lower() == "true"

    async def _parallel_for(
        self, step: Step, control: ParallelFor, folder: Path
    ) -> tuple[StepOutcome, Sequence[State[Any]]]:
        items = self._items(step, control)
        lanes = asyncio.Semaphore(control.max_concurrency or len(items))

        async def one(item: str, values: Mapping[str, InputBinding]) -> Sequence[Ended]:
            async with lanes:
                return await self._iteration(step, control.body, item, values)

        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(one(item, values)) for item, values in items.items()]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        ended = [each for task in running for each in task.result()]
        states = [state for _, state in ended]
        if (outcome := _unfinished(step, ended)) is not None:
            return outcome, states
        outputs = await asyncio.to_thread(self._collected, control.body, list(items), folder)
        message = f"Ended after {counted(len(items), 'item')}."
        return StepOutcome(step.name, RunStatus.COMPLETED, outputs=outputs, message=message), states

    def _items(self, step: Step, control: ParallelFor) -> dict[str, dict[str, InputBinding]]:
        """What each item gives to the inputs of the body, by the name of the item."""
        if control.items is not None:
            return {item: item_values(step, item) for item in control.items}
        ports: dict[str, InputPort | None] = {
            name: next((self._steps[taker].component.inputs[port] for taker, port in takers), None)
            for name, takers in control.body.takes.items()
        }
        try:
            items = items_in(self._received(step, ITEMS))
            return {item: dict(bound_item(values, ports)) for item, values in items.items()}
        except ValueError as error:
            raise RunError(f"{error}. Its input items is to be JSON text of a list of mappings.") from error

    async def _iteration(
        self, loop: Step, body: Body, iteration: str, given: Mapping[str, InputBinding]
    ) -> Sequence[Ended]:
        steps = iteration_steps(self._steps, body, iteration, given)
        self._steps.update(steps)
        names = (name for name in order_of(steps) if steps[name].when.loop is None)
        self._iterations.setdefault(loop.name, []).extend(names)
        return [await asyncio.shield(running) for running in self._start(steps)]

    def _collected(self, body: Body, items: Sequence[str], folder: Path) -> dict[str, Path]:
        claim_empty(folder)  # an earlier try of this very job may have left something
        (folder / "outputs").mkdir()
        found: dict[str, Path] = {}
        for output, (step, name) in body.delivers.items():
            ports = {item: delivered_in(body, item, output) for item in items}
            delivered = {item: self._delivered[port] for item, port in ports.items() if port in self._delivered}
            found[output] = inside(folder / "outputs", output)
            collect(self._steps[step].component.outputs[name], delivered, found[output])
        return found

    def _received(self, step: Step, name: str) -> str:
        value = self._planner.received(step, name, self._delivered)
        if value is None:
            raise RunError(f"its input {name} has no value.")
        return value.text


def _unfinished(step: Step, ended: Sequence[Ended]) -> StepOutcome | None:
    """How a loop ends whose iteration did not complete; None where it did."""
    outcomes = [outcome for outcome, _ in ended]
    failed = [one.name for one in outcomes if one.status in (RunStatus.FAILED, RunStatus.CANCELED)]
    if failed:
        message = f"The step {step.name} failed: {', '.join(failed)} did."
        return StepOutcome(step.name, RunStatus.FAILED, message=message)
    unready = [one for one in outcomes if not one.is_fine]
    if unready:
        message = f"The step {step.name} did not run: {unready[0].name} could not."
        return StepOutcome(step.name, RunStatus.NOT_STARTED, message=message)
    if outcomes and all(one.left_out for one in outcomes):
        message = f"The step {step.name} did not run: {outcomes[0].name} was left out."
        return StepOutcome(step.name, RunStatus.NOT_STARTED, left_out=True, message=message)
    return None
