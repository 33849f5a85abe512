"""Data that is kept by its content."""

import shutil
from pathlib import Path

import pytest

from flows.data.digests import data_digest
from flows.data.store import DataStore


@pytest.fixture
def store(tmp_path: Path) -> DataStore:
    return DataStore(tmp_path / "store")


def test_registered_file_keeps_the_name_that_a_person_gave_it(store: DataStore, tmp_path: Path) -> None:
    for name in ("june.csv", "it's july (2).csv"):
        (tmp_path / name).write_text(name)
        found = store.register(tmp_path / name, "rows")
        assert found.asset.path.name == name
        assert found.asset.path.read_text() == name


def test_registered_folder_keeps_its_name_and_files(store: DataStore, tmp_path: Path) -> None:
    (tmp_path / "july").mkdir()
    (tmp_path / "july" / "rows.csv").write_text("1\n")
    found = store.register(tmp_path / "july", "rows", "uri_folder")
    assert found.asset.path.name == "july"
    assert [file.name for file in found.asset.path.iterdir()] == ["rows.csv"]


def test_content_that_was_kept_is_found_when_its_file_is_gone(store: DataStore, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("1\n")
    digest = data_digest(file)
    assert store.kept(digest) is None
    place = store.keep(file, digest)
    assert store.keep(file, digest) == place
    file.unlink()
    assert store.kept(digest) == place
    assert place.read_text() == "1\n"


def test_kept_content_that_was_altered_is_not_taken_for_it(store: DataStore, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("1\n")
    digest = data_digest(tmp_path / "rows.csv")
    place = store.keep(tmp_path / "rows.csv", digest)
    place.write_text("2\n")
    assert store.kept(digest) is None
    shutil.rmtree(place.parent)
    assert store.kept(digest) is None
