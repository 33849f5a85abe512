"""The registry of a workspace: every model once, one champion, through trouble and beside others who register."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Literal, TypeVar

import pytest

from flows.errors import SettingsError, UserError
from flows.mlflow_store.model_registry import Candidate, ModelRegistry, ModelVersion, Overtaken
from flows.settings import Settings
from tests.azure_ml_service.faults import Fault
from tests.azure_ml_service.service import Service

T = TypeVar("T")

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("azure_client_allowed")]


@pytest.fixture
def service(azure_environment: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setattr("flows.engines.azureml.sdk.retries.FIRST_SECONDS", 0.01)
    for label in ("a", "b", "c"):
        folder = azure_environment.arm.path_of(model(label))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "MLmodel").write_text("flavors: {sklearn: {}}\n")
    return azure_environment


def model(label: str) -> str:
    return f"azureml://datastores/workspaceblobstore/paths/models/{label}"


def candidate(name: str, label: str) -> Candidate:
    return Candidate(name, model(label), label, {"tandem.model_of": label}, {"more": "x"})


async def promote(name: str, label: str, compared_with: int | None = None) -> ModelVersion | Overtaken:
    """Promote a model as a flow run of its own would, which compared it with this champion."""
    async with open_registry() as registry:
        return await registry.promote(candidate(name, label), compared_with=compared_with, flow_run_id=label)


async def register(name: str, label: str) -> ModelVersion:
    """Register a model without a gate."""
    async with open_registry() as registry:
        return await registry.register(candidate(name, label))


async def champion(name: str) -> int | None:
    async with open_registry() as registry:
        found = await registry.champion(name)
        return None if found is None else found.version


@contextlib.asynccontextmanager
async def open_registry() -> AsyncGenerator[ModelRegistry]:
    from flows.engines.azureml.registry import AzureModelRegistry
    from flows.engines.azureml.sdk.workspace import open_workspace

    async with open_workspace(Settings.from_environment()) as workspace:
        yield AzureModelRegistry(workspace)


def together(*calls: Callable[[], Awaitable[T]]) -> list[T]:
    async def all_of_them() -> list[T]:
        return list(await asyncio.gather(*(call() for call in calls)))

    return asyncio.run(all_of_them())


def carriers(service: Service, name: str) -> dict[str, bool]:
    """Which model each version of a registered model is, and whether it is the champion."""
    found = {key: one["properties"]["tags"] for key, one in service.models.items() if key.startswith(f"{name}:")}
    return {tags["tandem.model_of"]: tags.get("tandem.alias") == "champion" for tags in found.values()}


@pytest.mark.parametrize(("method", "skip"), [("GET", 0), ("GET", 1), ("GET", 2), ("PUT", 0), ("PUT", 1)])
@pytest.mark.parametrize("after_work", [False, True], ids=["before the work", "after the work"])
def test_token_that_ends_at_any_request_changes_nothing(
    service: Service, method: str, after_work: bool, skip: int
) -> None:
    name = f"ends-{method}-{after_work}-{skip}"
    (first,) = together(lambda: promote(name, "a"))
    ends = Fault(method, rf"/models/{name}", "expired", skip=skip, times=2, after_work=after_work)
    service.faults.add(ends)
    (second,) = together(lambda: promote(name, "b", compared_with=1))
    assert isinstance(first, ModelVersion) and isinstance(second, ModelVersion)
    assert [(found.version, found.alias) for found in (first, second)] == [(1, "champion"), (2, "champion")]
    assert carriers(service, name) == {"a": False, "b": True}
    assert ends.hits
    assert not service.violations


def test_version_that_the_last_try_has_made_is_found_though_its_answer_was_lost(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.engines.azureml.sdk.retries.CREATE_TRIES", 1)
    service.faults.add(Fault("PUT", r"/models/last-try", "expired", after_work=True))
    (made,) = together(lambda: promote("last-try", "a"))
    assert isinstance(made, ModelVersion)
    assert (made.version, made.created) == (1, True)


@pytest.mark.parametrize("kind", ["reset", "status"])
def test_request_that_may_have_made_a_version_is_not_sent_again_before_the_version_was_looked_for(
    service: Service, kind: Literal["reset", "status"]
) -> None:
    name = f"unanswered-{kind}"
    service.faults.add(Fault("PUT", rf"/models/{name}/versions/1$", kind, after_work=True))
    (made,) = together(lambda: promote(name, "a"))
    assert isinstance(made, ModelVersion)
    assert (made.version, made.alias, made.created) == (1, "champion", True)
    assert service.count("PUT", rf"/models/{name}/versions/") == 1


def test_of_first_models_that_are_promoted_at_once_one_is_and_the_others_are_told_which(service: Service) -> None:
    late = Fault("PUT", r"/models/raced/versions/1$", "slow", seconds=1.0)
    service.faults.add(late)
    made = together(*(lambda label=label: promote("raced", label) for label in ("a", "b", "c")))
    assert late.hits
    assert sum(isinstance(one, ModelVersion) and one.alias == "champion" for one in made) == 1
    assert made.count(Overtaken(by=1)) == 2
    assert list(carriers(service, "raced").values()) == [True]


def test_those_who_register_at_once_get_a_version_each(service: Service) -> None:
    service.faults.add(Fault("PUT", r"/models/ungated/versions/1$", "slow", seconds=1.0))
    made = together(*(lambda label=label: register("ungated", label) for label in ("a", "b", "c")))
    assert sorted(one.version for one in made) == [1, 2, 3]
    assert all(one.created and one.alias is None for one in made)
    assert not any(carriers(service, "ungated").values())


def test_two_tries_of_one_run_at_once_make_one_version(service: Service) -> None:
    made = together(*(lambda: promote("twice", "a") for _ in range(2)))
    assert [isinstance(one, ModelVersion) and (one.version, one.alias) for one in made] == [(1, "champion")] * 2
    assert carriers(service, "twice") == {"a": True}


def test_run_that_asks_again_is_told_that_it_was_promoted_also_when_there_is_a_next_champion(service: Service) -> None:
    together(lambda: promote("again", "a"))
    together(lambda: promote("again", "b", compared_with=1))
    (again,) = together(lambda: promote("again", "a"))
    assert isinstance(again, ModelVersion)
    assert (again.version, again.alias, again.created) == (1, None, False)
    assert carriers(service, "again") == {"a": False, "b": True}


def test_run_that_died_before_it_took_the_tag_from_the_last_champion_is_the_champion_all_the_same(
    service: Service,
) -> None:
    together(lambda: promote("untidy", "a"))
    dies = Fault("PUT", r"/models/untidy/versions/1$", code=403)
    service.faults.add(dies)
    with pytest.raises(SettingsError):
        together(lambda: promote("untidy", "b", compared_with=1))
    assert dies.hits
    assert carriers(service, "untidy") == {"a": True, "b": True}
    assert together(lambda: champion("untidy")) == [2]
    assert together(lambda: promote("untidy", "c", compared_with=1)) == [Overtaken(by=2)]
    together(lambda: promote("untidy", "c", compared_with=2))
    assert carriers(service, "untidy") == {"a": False, "b": False, "c": True}


def test_model_that_was_registered_without_a_gate_is_promoted_as_a_version_of_its_own(service: Service) -> None:
    together(lambda: register("late", "a"))
    (made,) = together(lambda: promote("late", "a"))
    assert isinstance(made, ModelVersion)
    assert (made.version, made.alias) == (2, "champion")


def test_model_that_is_refused_is_told_at_once(service: Service) -> None:
    before = len(service.requests)
    with pytest.raises(UserError, match="Nothing lies at the path of the model"):
        together(lambda: promote("refused", "nothing-there"))
    assert sum(request.method == "PUT" for request in service.requests[before:]) == 1
    assert not carriers(service, "refused")


def test_number_of_an_archived_version_is_not_asked_for_again(service: Service) -> None:
    together(lambda: promote("archived", "a"))
    with service.documents.change("models", "archived:1") as version:
        version["properties"]["isArchived"] = True
    (made,) = together(lambda: promote("archived", "b"))
    assert isinstance(made, ModelVersion)
    assert (made.version, made.created, made.alias) == (2, True, "champion")


def test_version_that_is_no_number_is_nobody_of_ours(service: Service) -> None:
    together(lambda: register("by-hand", "a"))
    document = service.documents.get("models", "by-hand:1")
    assert document is not None
    service.documents.put("models", "by-hand:best", {**document, "id": document["id"][:-1] + "best", "name": "best"})
    (made,) = together(lambda: promote("by-hand", "b"))
    assert isinstance(made, ModelVersion)
    assert (made.version, made.alias) == (2, "champion")


def test_person_makes_an_older_version_the_champion_and_both_say_so(service: Service) -> None:
    asyncio.run(promote("moved", "a"))
    asyncio.run(promote("moved", "b", compared_with=1))

    async def move() -> ModelVersion | Overtaken:
        async with open_registry() as registry:
            return await registry.move(
                "moved", 1, champion=2, new={"tandem.moved.1": "to"}, old={"tandem.moved.1": "no"}
            )

    moved = asyncio.run(move())
    assert isinstance(moved, ModelVersion) and moved.version == 1
    assert asyncio.run(champion("moved")) == 1
    assert asyncio.run(promote("moved", "c", compared_with=2)) == Overtaken(1)
