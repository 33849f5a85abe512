"""``tandem notify`` and what ``make deploy`` and ``tandem doctor`` say of messages, on a real Prefect server."""

import asyncio
import json
import uuid
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deployments.deploy import _messages  # pyright: ignore[reportPrivateUsage] (what is printed after a rollout)
from deployments.ours import Done
from flows.cli.doctor.findings import Status
from flows.cli.doctor.prefect_api import check_prefect
from flows.cli.main import main
from flows.prefect_api.messages import NOTIFY
from flows.prefect_api.server import free_port
from flows.settings import Settings
from tests.deployments.station import Receiver, Station, receiver
from tests.waiting import until

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # of the library behind Prefect's blocks
BODY = {"subject": "{{ subject }}", "body": "{{ body }}"}


@pytest.fixture
def told() -> Iterator[Receiver]:
    with receiver() as who:
        yield who


@pytest.fixture
def station(tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> Generator[Station]:
    """The server that all tests share, with no block chosen before and after."""
    monkeypatch.setenv("TANDEM_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    station = Station(tmp_path, prefect_api)
    yield station
    station.api.delete(f"/variables/name/{NOTIFY}")
    station.api.close()


def choose(station: Station, address: str) -> str:
    """Make a block for an address, and let messages go through it; its name."""
    name = f"b-{uuid.uuid4().hex[:8]}"
    secret = {"name": name, "url": "{{ url }}", "secrets": {"url": address}, "json_data": BODY}
    station.make_block("custom-webhook", name, {**secret, "method": "POST"})
    station.api.post("/variables/", json={"name": NOTIFY, "value": f"custom-webhook/{name}"}).raise_for_status()
    return f"custom-webhook/{name}"


def fail_to_deliver(station: Station, automation: str) -> None:
    """What the server writes down of a message that a block could not deliver."""
    event = {
        "id": str(uuid.uuid4()),
        "event": "prefect.automation.action.failed",
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": "prefect.automation.x", "prefect.resource.name": automation},
        "payload": {"action_type": "send-notification", "reason": "Notification failed", "notification_log": "no_team"},
    }
    station.api.post("/events", json=[event]).raise_for_status()


def messages(home: Path) -> Any:
    findings = asyncio.run(check_prefect(Settings.from_environment()))
    (found,) = (each for each in findings if each.check == "messages")
    return found


def test_test_message_arrives(station: Station, told: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = choose(station, told.url)
    assert main(["notify", "--test", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["block"], said["tested"]) == (chosen, True)
    assert told.about("a test message")["body"].startswith("Messages of Tandem arrive here")


@pytest.mark.parametrize(("address", "why"), [("no", "cannot be reached"), ("missing", "answered 404")])
def test_block_that_cannot_deliver_is_told_by_the_test_and_by_deploying_without_its_address(
    station: Station, address: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://127.0.0.1:{free_port()}/a-secret" if address == "no" else f"{station.api.base_url}a-secret"
    chosen = choose(station, url)
    assert main(["notify", "--test"]) == 3
    said = capsys.readouterr().err
    assert f"The test message through {chosen} was not delivered: the address {why}" in said
    told_by_deploy = _messages([Done("made", "block", chosen)])
    assert told_by_deploy.startswith(f"MESSAGES ARE NOT DELIVERED through {chosen}: the address {why}")
    assert "a-secret" not in said + told_by_deploy


def test_deploying_sends_a_test_message_through_a_block_that_is_new_and_none_through_one_that_was_there(
    station: Station, told: Receiver
) -> None:
    chosen = choose(station, told.url)
    assert _messages([Done("there", "block", chosen)]) == f"Messages go through {chosen}."
    assert told.messages == []
    assert "which took a test message" in _messages(
        [Done("changed", "variable", NOTIFY), Done("there", "block", chosen)]
    )
    assert len(told.messages) == 1
    assert _messages([Done("removed", "block", chosen)]).startswith("No messages are sent")


def test_without_a_block_nobody_is_told_and_it_is_said_how_to_choose_one(
    station: Station, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["notify"]) == 2
    assert "Nobody is told: no block was chosen" in capsys.readouterr().err
    assert messages(tmp_path).status is Status.OK


def test_block_that_is_gone_is_found_by_the_doctor(station: Station, tmp_path: Path) -> None:
    station.api.post("/variables/", json={"name": NOTIFY, "value": "slack-webhook/gone"}).raise_for_status()
    found = messages(tmp_path)
    assert (found.status, "slack-webhook/gone, which is not there" in found.message) == (Status.WARN, True)


def test_message_that_the_server_could_not_deliver_is_told_by_every_one_who_is_asked(
    station: Station, told: Receiver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = choose(station, told.url)
    fail_to_deliver(station, "of somebody else")
    fail_to_deliver(station, "tandem: failed")

    def found() -> Any:
        finding = messages(tmp_path)
        return finding if finding.status is Status.WARN else None

    finding = until(found)
    assert "'tandem: failed' at 20" in finding.message and ": Notification failed no_team" in finding.message
    assert finding.command == "tandem notify --test"
    assert main(["notify"]) == 1
    said = capsys.readouterr().out
    assert f"go through {chosen}" in said and "Notification failed no_team" in said and "somebody" not in said
    assert "MESSAGES ARE NOT DELIVERED" in _messages([Done("there", "block", chosen)])
