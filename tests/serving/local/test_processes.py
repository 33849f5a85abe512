"""Local endpoints when their processes are killed, ended or slow: what goes on, what comes back, what is left."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.errors import ServingError
from flows.machine.living import has_entries, this_process
from flows.serving.endpoints import Answer, ServingState
from flows.serving.local import files
from flows.serving.local.adapter import LocalServing
from flows.serving.local.lifetime import end_supervisor, supervisor_pid
from tests.processes import commands_with
from tests.serving.conftest import local_place
from tests.serving.scripts import ENDPOINT, Definitions, asking


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def local(tmp_path: Path, home: Path) -> Iterator[LocalServing]:
    with local_place(tmp_path) as place:
        assert isinstance(place, LocalServing)
        yield place


async def deployed(serving: LocalServing, definitions: Definitions, more: str = "") -> None:
    """A deployment with all of the traffic."""
    await serving.create_endpoint(definitions.endpoint)
    await serving.deploy(definitions.request("blue", more=more))
    await serving.set_traffic(ENDPOINT, {"blue": 100})


async def answered(serving: LocalServing) -> Answer:
    """The first answer with status 200."""
    for _ in range(600):
        answer = await serving.score(ENDPOINT, asking())
        if answer.status == 200:
            return answer
        await asyncio.sleep(0.1)
    raise AssertionError("no answer")


def pid_of(answer: Answer) -> int:
    return json.loads(answer.body)["pid"]


async def killed(pid: int) -> None:
    """Kill an instance and wait until it is gone: until then, a request may still be sent to it, and is lost."""
    os.kill(pid, signal.SIGKILL)
    for _ in range(1_000):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"process {pid} is still there")


def router_of(home: Path) -> int:
    """The process of the router."""
    (found,) = [line for line in commands_with(str(home)) if "flows.serving.local.router" in line]
    return int(found.split()[0])


def test_an_instance_that_is_killed_is_started_again_and_the_deployment_stays(
    local: LocalServing, definitions: Definitions
) -> None:
    async def behaviour() -> None:
        await deployed(local, definitions)
        first = pid_of(await answered(local))
        os.kill(first, signal.SIGKILL)
        assert pid_of(await answered(local)) != first
        endpoint = await local.endpoint(ENDPOINT)
        assert endpoint is not None
        blue = endpoint.deployment("blue")
        assert blue is not None and blue.state is ServingState.SUCCEEDED

    asyncio.run(behaviour())


def test_while_one_instance_is_started_again_the_other_answers_every_request(
    local: LocalServing, definitions: Definitions
) -> None:
    async def behaviour() -> None:
        await deployed(local, definitions)
        await local.scale(ENDPOINT, "blue", 2)
        await killed(pid_of(await answered(local)))
        assert {(await local.score(ENDPOINT, asking())).status for _ in range(50)} == {200}

    asyncio.run(behaviour())


def test_a_router_that_is_killed_comes_back_and_the_same_instance_answers(
    local: LocalServing, definitions: Definitions, home: Path
) -> None:
    async def behaviour() -> None:
        await deployed(local, definitions)
        before = await answered(local)
        router = router_of(home)
        os.kill(router, signal.SIGKILL)
        after = await local.score(ENDPOINT, asking())  # who asks meanwhile waits, since the port is still open
        assert (after.status, pid_of(after)) == (200, pid_of(before))
        assert router_of(home) != router

    asyncio.run(behaviour())


async def asked_by_four_clients(serving: LocalServing, kill: Callable[[], None]) -> Counter[int]:
    """How often each status was answered to four clients, who ask before, while and after something is killed."""
    stop, counted = asyncio.Event(), Counter[int]()

    async def client() -> None:
        while not stop.is_set():
            counted[(await serving.score(ENDPOINT, asking())).status] += 1

    async def answers(more: int) -> None:
        """Wait until so many more requests were answered with success."""
        end = counted[200] + more
        for _ in range(6_000):
            if counted[200] >= end:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(counted)

    clients = [asyncio.create_task(client()) for _ in range(4)]
    await answers(40)
    kill()
    await answers(200)
    stop.set()
    await asyncio.gather(*clients)
    return counted


def test_of_four_clients_at_most_one_has_an_error_when_one_of_two_instances_is_killed(
    local: LocalServing, definitions: Definitions
) -> None:
    async def behaviour() -> None:
        await deployed(local, definitions, "request_settings: {request_timeout_ms: 60000}\n")
        await local.scale(ENDPOINT, "blue", 2)
        pid = pid_of(await answered(local))
        counted = await asked_by_four_clients(local, lambda: os.kill(pid, signal.SIGKILL))
        assert set(counted) <= {200, 502} and counted[502] <= 1, counted

    asyncio.run(behaviour())


def test_of_four_clients_only_those_being_answered_are_broken_off_when_the_only_instance_is_killed(
    local: LocalServing, definitions: Definitions
) -> None:
    async def behaviour() -> None:
        at_once = "request_settings: {request_timeout_ms: 60000, max_concurrent_requests_per_instance: 2}\n"
        await deployed(local, definitions, f"{at_once}environment_variables: {{WORKER_COUNT: '2'}}\n")
        pid = pid_of(await answered(local))
        counted = await asked_by_four_clients(local, lambda: os.kill(pid, signal.SIGKILL))
        assert set(counted) <= {200, 502, 503} and counted[502] <= 2, counted  # 503 until it is started again

    asyncio.run(behaviour())


def test_of_four_clients_each_has_at_most_one_error_when_the_router_is_killed(
    local: LocalServing, definitions: Definitions, home: Path
) -> None:
    async def behaviour() -> None:
        await deployed(
            local,
            definitions,
            "request_settings: {request_timeout_ms: 60000, max_concurrent_requests_per_instance: 4}\n"
            "environment_variables: {WORKER_COUNT: '4'}\n",
        )
        counted = await asked_by_four_clients(local, lambda: os.kill(router_of(home), signal.SIGKILL))
        assert set(counted) <= {0, 200} and counted[0] <= 4, counted

    asyncio.run(behaviour())


def test_a_supervisor_that_is_killed_takes_all_with_it_and_the_next_question_brings_all_back(
    local: LocalServing, definitions: Definitions, home: Path
) -> None:
    async def behaviour() -> None:
        await deployed(local, definitions)
        await local.tag(ENDPOINT, {"lease": "a"})
        port, first, supervisor = (
            files.read_port(home / "serving"),
            pid_of(await answered(local)),
            supervisor_pid(home / "serving"),
        )
        assert supervisor
        os.kill(supervisor, signal.SIGKILL)
        for _ in range(100):
            if not commands_with(str(home)):
                break
            await asyncio.sleep(0.1)
        assert not commands_with(str(home))
        endpoint = await LocalServing(home).endpoint(ENDPOINT)
        assert endpoint is not None
        assert (endpoint.traffic["blue"], endpoint.tags["lease"]) == (100, "a")
        assert pid_of(await answered(local)) != first
        assert files.read_port(home / "serving") == port

    asyncio.run(behaviour())


@pytest.mark.slow
def test_an_instance_that_dies_again_and_again_fails_the_deployment_with_its_reason(
    local: LocalServing, definitions: Definitions
) -> None:
    async def behaviour() -> None:
        await deployed(local, definitions)
        statuses: set[int] = set()
        for _ in range(400):
            statuses.add((await local.score(ENDPOINT, asking(dies=True))).status)
            endpoint = await local.endpoint(ENDPOINT)
            assert endpoint is not None
            blue = endpoint.deployment("blue")
            assert blue is not None
            if blue.state is ServingState.FAILED:
                break
            await asyncio.sleep(0.05)
        assert statuses <= {502, 503} and 502 in statuses
        assert (await local.score(ENDPOINT, asking())).status == 503
        with pytest.raises(ServingError, match="exit code 9"):
            await local.scale(ENDPOINT, "blue", 1)

    asyncio.run(behaviour())


def test_a_request_that_was_begun_is_answered_though_its_deployment_is_deleted(
    local: LocalServing, definitions: Definitions
) -> None:
    async def behaviour() -> None:
        await deployed(local, definitions)
        await local.deploy(definitions.request("green", 2))
        begun = asyncio.create_task(local.score(ENDPOINT, asking(seconds=1), "blue"))
        await asyncio.sleep(0.3)
        await local.set_traffic(ENDPOINT, {"green": 100})
        await local.delete_deployment(ENDPOINT, "blue")
        assert (await begun).status == 200
        assert json.loads((await answered(local)).body)["version"] == 2

    asyncio.run(behaviour())


def test_what_takes_too_long_is_told_as_408_and_too_many_at_once_as_429(
    local: LocalServing, definitions: Definitions
) -> None:
    async def behaviour() -> None:
        await deployed(local, definitions, "request_settings: {request_timeout_ms: 1500}\n")
        answers = await asyncio.gather(*(local.score(ENDPOINT, asking(seconds=1.2)) for _ in range(4)))
        assert sorted(answer.status for answer in answers) == [200, 408, 429, 429]
        await asyncio.sleep(1.2)  # the instance goes on with what was given up
        assert (await answered(local)).status == 200

    asyncio.run(behaviour())


def test_everything_ends_with_the_last_endpoint(local: LocalServing, definitions: Definitions, home: Path) -> None:
    async def behaviour() -> None:
        await deployed(local, definitions)
        await local.delete_endpoint(ENDPOINT)
        for _ in range(100):
            if not commands_with(str(home)):
                break
            await asyncio.sleep(0.1)
        assert not commands_with(str(home))
        assert not has_entries(home)
        assert {path.name for path in (home / "serving").iterdir() if path.is_dir()} == set()

    asyncio.run(behaviour())


def test_an_endpoint_ends_with_the_process_that_owns_it(
    local: LocalServing, definitions: Definitions, home: Path
) -> None:
    async def behaviour() -> None:
        mine = LocalServing(home, owner=this_process())
        await mine.create_endpoint(definitions.endpoint)
        assert await local.endpoint(ENDPOINT) is not None
        end_supervisor(home)
        folder = home / "serving" / ENDPOINT
        text = (folder / files.ENDPOINT).read_text().replace(f"[{os.getpid()}, ", "[1, ")
        (folder / files.ENDPOINT).write_text(text)  # as if that process had ended
        assert await local.endpoint(ENDPOINT) is not None
        for _ in range(100):
            if not folder.exists():
                break
            await asyncio.sleep(0.1)
        assert await local.endpoint(ENDPOINT) is None

    asyncio.run(behaviour())


def test_state_clean_ends_the_endpoints_and_deletes_them(
    local: LocalServing, definitions: Definitions, home: Path
) -> None:
    asyncio.run(deployed(local, definitions))
    words = [sys.executable, "-m", "flows", "state", "clean"]
    environment = {**os.environ, "TANDEM_HOME": str(home)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"Deleted the local state: {home}\n"), done.stderr
    assert not home.exists() and not commands_with(str(home))
