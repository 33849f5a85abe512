"""The registry of a workspace: every model once, one champion, through trouble and beside others who register."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from flows.errors import UserError
from flows.model_registry import ModelVersion
from flows.settings import Settings
from tests.azure_ml_service.faults import Fault
from tests.azure_ml_service.service import Service

T = TypeVar("T")

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("azure_client_allowed")]


@pytest.fixture
def service(azure_environment: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setattr("flows.engines.azure.connection.RETRY_SECONDS", 0.01)
    monkeypatch.setattr("flows.azure_model_registry.RETRY_SECONDS", 0.01)
    for label in ("a", "b", "c"):
        folder = azure_environment.arm.path_of(model(label))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "MLmodel").write_text("flavors: {sklearn: {}}\n")
    return azure_environment


def model(label: str) -> str:
    return f"azureml://datastores/workspaceblobstore/paths/models/{label}"


async def register(name: str, label: str, alias: str | None = "champion") -> ModelVersion:
    """Register a model as a flow run of its own would."""
    from flows.azure_model_registry import AzureModelRegistry
    from flows.engines.azure.workspace import open_workspace

    async with open_workspace(Settings.from_environment()) as workspace:
        registry = AzureModelRegistry(workspace)
        return await registry.register(
            name,
            model(label),
            run_id=label,
            idempotency_tags={"tandem.model_of": label},
            tags={"more": "x"},
            alias=alias,
        )


def together(*calls: Callable[[], Awaitable[T]]) -> list[T]:
    async def all_of_them() -> list[T]:
        return list(await asyncio.gather(*(call() for call in calls)))

    return asyncio.run(all_of_them())


def carriers(service: Service, name: str) -> dict[str, bool]:
    """Which model each version of a registered model is, and whether it is the champion."""
    found = {key: one["properties"]["tags"] for key, one in service.models.items() if key.startswith(f"{name}:")}
    return {tags["tandem.model_of"]: tags.get("tandem.alias") == "champion" for tags in found.values()}


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("after_work", [False, True], ids=["before the work", "after the work"])
@pytest.mark.parametrize("skip", range(3))
def test_token_that_ends_at_any_request_changes_nothing(
    service: Service, method: str, after_work: bool, skip: int
) -> None:
    name = f"ends-{method}-{after_work}-{skip}"
    first = together(lambda: register(name, "a"))
    ends = Fault(method, rf"/models/{name}", "expired", skip=skip, times=2, after_work=after_work)
    service.faults.add(ends)
    second = together(lambda: register(name, "b"))
    assert [found.version for found in (*first, *second)] == [1, 2]
    assert carriers(service, name) == {"a": False, "b": True}
    assert ends.hits
    assert not service.violations


def test_version_that_the_last_try_has_made_is_found_though_its_answer_was_lost(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.azure_model_registry.TRIES", 1)
    service.faults.add(Fault("PUT", r"/models/last-try", "expired", after_work=True))
    (made,) = together(lambda: register("last-try", "a"))
    assert (made.version, made.created) == (1, True)


def test_those_who_take_the_same_number_get_a_version_each_and_the_newest_is_the_champion(service: Service) -> None:
    late = Fault("PUT", r"/models/raced/versions/1$", "slow", seconds=1.0)
    service.faults.add(late)
    made = together(*(lambda label=label: register("raced", label) for label in ("a", "b", "c")))
    assert late.hits
    newest = max(made, key=lambda one: one.version)
    assert sorted(one.version for one in made) == [1, 2, 3]
    assert all(one.created for one in made)
    assert [label for label, champion in carriers(service, "raced").items() if champion] == [
        newest.tags["tandem.model_of"]
    ]


def test_two_tries_of_one_run_at_once_make_one_version(service: Service) -> None:
    made = together(*(lambda: register("twice", "a") for _ in range(2)))
    assert {one.version for one in made} == {1}
    assert carriers(service, "twice") == {"a": True}


def test_model_that_is_refused_is_told_at_once(service: Service) -> None:
    before = len(service.requests)
    with pytest.raises(UserError, match="Nothing lies at the path of the model"):
        together(lambda: register("refused", "nothing-there"))
    assert sum(request.method == "PUT" for request in service.requests[before:]) == 1
    assert not carriers(service, "refused")


def test_number_of_an_archived_version_is_left_to_the_workspace(service: Service) -> None:
    together(lambda: register("archived", "a"))
    with service.documents.change("models", "archived:1") as version:
        version["properties"]["isArchived"] = True
    (made,) = together(lambda: register("archived", "b"))
    assert (made.version, made.created) == (2, True)


def test_version_that_is_no_number_is_nobody_of_ours(service: Service) -> None:
    together(lambda: register("by-hand", "a", alias=None))
    document = service.documents.get("models", "by-hand:1")
    assert document is not None
    service.documents.put("models", "by-hand:best", {**document, "id": document["id"][:-1] + "best", "name": "best"})
    (made,) = together(lambda: register("by-hand", "b"))
    assert (made.version, made.alias) == (2, "champion")
