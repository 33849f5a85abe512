"""``tandem endpoints delete`` as a person types it: asked first, and one JSON document where that is wanted."""

import io
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from flows.cli.main import main
from flows.cli.serving import endpoints
from flows.serving.endpoints import Deployment, Endpoint, ServingState
from tests.rollout.place_in_memory import PlaceInMemory


class Typing(io.StringIO):
    """Standard input of a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> PlaceInMemory:
    made = PlaceInMemory(
        Endpoint("shop", ServingState.SUCCEEDED, deployments=(Deployment("blue", ServingState.SUCCEEDED),))
    )

    @asynccontextmanager
    async def opened(*_: object) -> AsyncGenerator[PlaceInMemory]:
        yield made

    monkeypatch.setattr(endpoints, "open_serving", opened)
    return made


@pytest.mark.parametrize(("answer", "is_deleted"), [("y", True), ("yes", True), ("", False), ("no", False)])
def test_a_person_is_asked_on_standard_error_and_the_result_is_one_json_document(
    place: PlaceInMemory,
    answer: str,
    is_deleted: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", Typing(f"{answer}\n"))
    assert main(["endpoints", "delete", "shop", "--json"]) == 0
    said = capsys.readouterr()
    gone = ["blue"] if is_deleted else []
    assert json.loads(said.out) == {"name": "shop", "deleted": is_deleted, "deployments": gone}
    assert "Delete the endpoint shop (blue)?" in said.err


def test_without_a_terminal_nothing_is_deleted_unless_that_was_agreed_to(
    place: PlaceInMemory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert main(["endpoints", "delete", "shop"]) == 2
    assert "add --yes. Nothing was deleted." in capsys.readouterr().err
    assert main(["endpoints", "delete", "shop", "--yes"]) == 0
    assert capsys.readouterr().out == "The endpoint shop was deleted.\n"
