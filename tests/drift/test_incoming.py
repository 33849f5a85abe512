"""Which data counts as incoming: never what is older than the champion's own."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.data.assets import ResolvedData, resolve_data
from flows.data.store import DataStore
from flows.drift.incoming import why_not_incoming
from flows.mlflow_store.model_registry import ModelVersion

TRAINED = datetime(2026, 5, 4, 3, 2, tzinfo=UTC)
BEFORE, AFTER = datetime(2026, 5, 4, 3, 1, tzinfo=UTC), datetime(2026, 5, 4, 3, 3, tzinfo=UTC)


def champion(data: str, trained: bool = True, sha256: str = "") -> ModelVersion:
    tags: Mapping[str, str] = {"tandem.data": data, "tandem.data_sha256": sha256}
    tags = {**tags, "tandem.trained_at": TRAINED.isoformat()} if trained else tags
    return ModelVersion("m", 3, False, "champion", "source", tags=tags)


def version(number: str, registered: datetime | None = None, sha256: str | None = None) -> ResolvedData:
    return ResolvedData(f"rows:{number}", "uri_file", None, "rows", number, sha256, registered=registered)


@pytest.mark.parametrize(
    ("data", "trained_on", "said"),
    [
        (version("10"), "rows:9", ""),
        (version("9"), "rows:9", "rows:9 is what m version 3 was trained on."),
        (version("8", AFTER), "rows:9", "rows:8 is older than rows:9, which m version 3 was trained on."),
        (version("1", AFTER), "/data/own.csv", ""),
        (version("1", BEFORE), "/data/own.csv", "it was registered at 2026-05-04 03:01 UTC, and m version 3 was"),
        (version("1"), "/data/own.csv", "it was registered at an unknown time, and m version 3 was"),
        (version("1", AFTER), "other:7", ""),
        (version("9", BEFORE), "other:7", "m version 3 was trained on other:7 at 2026-05-04 03:02 UTC. To compare"),
        (ResolvedData("/data/new.csv", "uri_file", Path("/data/new.csv")), "/data/own.csv", ""),
    ],
)
def test_version_is_incoming_only_if_it_is_newer_than_the_data_of_the_champion(
    data: ResolvedData, trained_on: str, said: str
) -> None:
    found = why_not_incoming(champion(trained_on), data)
    assert said in found and bool(said) == bool(found)


def test_content_of_the_champion_is_not_incoming_under_whatever_name() -> None:
    assert why_not_incoming(champion("/data/own.csv", sha256="aa"), version("1", AFTER, "aa"))
    assert not why_not_incoming(champion("/data/own.csv", sha256="bb"), version("1", AFTER, "aa"))


def test_champion_that_does_not_say_when_it_was_trained_is_compared_with_no_version_of_other_data() -> None:
    assert "is not known to be newer" in why_not_incoming(champion("/data/own.csv", trained=False), version("1", AFTER))
    assert not why_not_incoming(champion("rows:1", trained=False), version("2"))


def test_data_that_is_registered_here_says_when(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n")
    before = datetime.now(UTC)
    DataStore(tmp_path / "store").register(tmp_path / "rows.csv", "rows")
    found = resolve_data("rows", [tmp_path / "store" / "assets"]).registered
    assert found is not None and before <= found <= datetime.now(UTC)
