"""How a flow run ends when something is wrong, and what Prefect is given to retry; on a real server."""

import asyncio
import os
import signal
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect import flow_engine as engine
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.errors import DataAssetError, RunCanceled, ServiceError, SettingsError, StepFailed, TandemError
from flows.orchestration.failures import RETRY_DELAYS, failures_as_states, retry_delays
from flows.train_pipeline import train_pipeline


def ended(error: TandemError | None, until_run: int = 99) -> tuple[str, str, str, list[str]]:
    """Run a flow that raises in each of its runs before one; its state's type, name and message, and all its states."""

    @flow
    @failures_as_states
    async def failing() -> State[Any]:
        if error is not None and flow_run.run_count < until_run:
            raise error
        return Completed(message="done")

    async def run() -> tuple[str, str, str, list[str]]:
        state: Any = await failing(return_state=True)  # type: ignore[call-overload]
        async with get_client() as client:
            states = await client.read_flow_run_states(UUID(str(state.state_details.flow_run_id)))
        return state.type.value, state.name, state.message or "", [each.name or "" for each in states]

    return asyncio.run(run())


def test_sigterm_while_prefect_writes_down_how_the_flow_ended_does_not_break_that(prefect_api: str) -> None:
    @flow
    @failures_as_states
    async def trained() -> State[Any]:
        return Completed(message="done")

    async def run() -> State[Any]:
        finish, propose = False, getattr(engine, "propose_state")  # noqa: B009

        async def interrupted(*values: Any, **named: Any) -> Any:
            nonlocal finish
            if not finish and values[1].is_completed():
                finish = True
                os.kill(os.getpid(), signal.SIGTERM)
            return await propose(*values, **named)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "propose_state", interrupted)
            state: Any = await trained(return_state=True)  # type: ignore[call-overload]
        assert finish
        return state

    before = signal.getsignal(signal.SIGTERM)
    assert asyncio.run(run()).message == "done"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def two_retries(prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RETRY_DELAYS, "0 0")


@pytest.mark.usefixtures("two_retries")
def test_flow_run_is_retried_when_a_service_does_not_answer_and_completes_once_it_does() -> None:
    kind, name, message, states = ended(ServiceError("Azure ML does not answer"), until_run=3)
    assert (kind, name, message) == ("COMPLETED", "Completed", "done")
    assert states.count("AwaitingRetry") == 2


@pytest.mark.usefixtures("two_retries")
def test_flow_run_fails_with_the_services_message_when_its_retries_are_used_up() -> None:
    kind, name, message, states = ended(ServiceError("Azure ML does not answer"))
    assert (kind, name, message) == ("FAILED", "ServiceError", "Azure ML does not answer")
    assert states.count("AwaitingRetry") == 2


@pytest.mark.usefixtures("two_retries")
@pytest.mark.parametrize(
    ("error", "expected"),
    [(DataAssetError("no such asset"), "FAILED"), (StepFailed("step"), "FAILED"), (RunCanceled("gone"), "CANCELLED")],
    ids=["user's mistake", "failed step", "canceled"],
)
def test_flow_run_is_not_retried_where_it_would_only_fail_again(error: TandemError, expected: str) -> None:
    kind, _, message, states = ended(error)
    assert (kind, message) == (expected, str(error))
    assert "AwaitingRetry" not in states


def test_flow_run_that_a_person_waits_for_is_not_retried(prefect_api: str) -> None:
    kind, name, _, states = ended(ServiceError("Azure ML does not answer"))
    assert (kind, name) == ("FAILED", "ServiceError")
    assert "AwaitingRetry" not in states


def test_retry_delays_that_are_no_numbers_are_the_message_of_the_flow_run(
    prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RETRY_DELAYS, "soon")
    kind, name, message, _ = ended(None)
    assert (kind, name) == ("FAILED", "SettingsError")
    assert message.startswith(f"{RETRY_DELAYS} is 'soon'. Write seconds")


@pytest.mark.parametrize(("text", "delays"), [("", ()), ("30 120.5", (30.0, 120.5)), (" 0 ", (0.0,))])
def test_retry_delays_are_seconds_with_blanks_between_them(text: str, delays: tuple[float, ...]) -> None:
    assert retry_delays({RETRY_DELAYS: text}) == delays


@pytest.mark.parametrize("text", ["1,2", "-1", "nan", "inf"])
def test_retry_delays_that_cannot_be_waited_for_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="Write seconds"):
        retry_delays({RETRY_DELAYS: text})


@pytest.mark.usefixtures("two_retries")
def test_parameters_that_contradict_each_other_are_the_message_of_the_flow_run() -> None:
    state: Any = asyncio.run(train_pipeline(gate_floor=7, return_state=True))  # type: ignore[call-overload]
    assert (state.type.value, state.name) == ("FAILED", "ParameterError")
    assert state.message == "The gate's floor for roc_auc must be from 0 to 1, not 7.0."
