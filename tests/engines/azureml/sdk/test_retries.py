"""Retries: how often and after which pauses, and that what creates something is looked for before it is sent again."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from flows.engines.azureml.sdk import retries
from flows.engines.azureml.sdk.retries import AlreadyThereError, create_once, pauses, persistently, retry_after
from flows.errors import ServiceError, UserError
from flows.settings import Settings
from tests.azure_ml_service.faults import Fault
from tests.azure_ml_service.service import Service


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_SECONDS", 0.001)


def saying(*answers: Exception | str | None) -> tuple[Callable[[], Awaitable[str | None]], list[str]]:
    """A call that ends as told, one answer after the other, and the list of what it ended with."""
    left: Iterator[Exception | str | None] = iter(answers)
    given: list[str] = []

    async def call() -> str | None:
        answer = next(left)
        given.append(str(answer))
        if isinstance(answer, Exception):
            raise answer
        return answer

    return call, given


def test_each_pause_is_twice_the_last_but_for_a_fifth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_SECONDS", 1.0)
    found = list(pauses(5))
    for expected, pause in zip((1, 2, 4, 8, 8), found, strict=True):
        assert 0.8 * expected <= pause <= 1.2 * expected
    assert list(pauses(5)) != found


def test_trouble_that_passes_is_not_told_and_trouble_that_stays_is() -> None:
    call, given = saying(ServiceError("away"), "here")
    assert asyncio.run(persistently(call)) == "here"
    call, given = saying(*(ServiceError(f"away {number}") for number in range(1, 9)))
    with pytest.raises(ServiceError, match="away 5"):
        asyncio.run(persistently(call))
    assert len(given) == retries.TRIES


def test_refusal_is_not_repeated() -> None:
    call, given = saying(UserError("no"), "here")
    with pytest.raises(UserError, match="no"):
        asyncio.run(persistently(call))
    create, created = saying(UserError("no"), "made")
    with pytest.raises(UserError, match="no"):
        asyncio.run(create_once(create, call))
    assert (given, created) == (["no"], ["no"])


@pytest.mark.parametrize("doubt", [ServiceError("no answer"), AlreadyThereError("taken")])
def test_what_was_created_though_nobody_said_so_is_found_and_not_created_again(doubt: Exception) -> None:
    create, created = saying(doubt, "made twice")
    find, _ = saying(ServiceError("away"), "found")
    assert asyncio.run(create_once(create, find)) == "found"
    assert created == [str(doubt)]


def test_what_is_not_there_after_a_failure_is_created_in_the_next_try() -> None:
    create, _ = saying(ServiceError("no answer"), "made")
    find, looked = saying(None)
    told: list[str] = []
    assert asyncio.run(create_once(create, find, lambda error: told.append(str(error)))) == "made"
    assert (told, looked) == (["no answer"], ["None"])


def test_creation_that_fails_each_time_raises_the_last_failure_after_a_last_look() -> None:
    create, created = saying(*(ServiceError(f"no answer {number}") for number in range(1, 9)))
    find, looked = saying(*[None] * 8)
    with pytest.raises(ServiceError, match="no answer 8"):
        asyncio.run(create_once(create, find))
    assert len(created) == len(looked) == retries.CREATE_TRIES


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("told", "kept"), [(7, 7.0), (86400, 60.0), (None, 0.0)])
def test_service_says_when_to_ask_again_but_for_no_longer_than_a_minute(
    told: float | None, kept: float, azure_environment: Service, azure_client_allowed: None
) -> None:
    from flows.engines.azureml.sdk.connection import Connection

    azure_environment.faults.add(Fault("GET", r"/jobs/", code=429, retry_after=told, times=None))
    connection = Connection(Settings.from_environment(), retry_status=0)
    try:
        with pytest.raises(ServiceError, match="429") as raised:
            asyncio.run(connection.call(lambda client: client.jobs.get("anything")))
    finally:
        connection.close()
    assert retry_after(raised.value) == kept
