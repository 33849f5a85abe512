"""A digest is that of the content, however it came there, and is taken again when a file may have changed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.data import digests
from flows.data.digests import data_digest, file_digest, files_below, text_digest

LONG_AGO = (1_000_000_000, 1_000_000_000)


def rewritten(path: Path, text: str) -> None:
    """The file with other content, of the same size, at the same time."""
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_text(text)
    os.utime(path, ns=times)


def replaced(path: Path, text: str) -> None:
    """Another file in its place, of the same size and time."""
    other = path.with_name("other")
    other.write_text(text)
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)


def swapped_links(path: Path, text: str) -> None:
    """A link to another file of the same size and time."""
    target = path.with_name("target")
    target.write_text(text)
    os.utime(target, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize("change", [rewritten, replaced, swapped_links], ids=lambda change: change.__name__)
def test_content_of_the_same_size_and_time_is_told_apart(
    change: Callable[[Path, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED_NANOSECONDS", -1)  # every digest is remembered at once
    path = tmp_path / "rows.csv"
    path.write_text("one")
    os.utime(path, LONG_AGO)
    assert file_digest(path) == file_digest(path) == text_digest("one")

    change(path, "two")

    assert file_digest(path) == text_digest("two")


def test_what_was_written_a_moment_ago_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    for text in ("one", "two", "six") * 20:  # within one tick of the file system's clock
        path.write_text(text)
        assert file_digest(path) == text_digest(text)


def test_a_large_file_has_the_digest_of_its_content(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("x" * (digests.SMALL_BYTES + 1))

    assert file_digest(path) == text_digest("x" * (digests.SMALL_BYTES + 1))


def test_content_behind_a_link_to_a_folder_counts(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "rows.csv").write_text("one")
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    before = data_digest(tmp_path / "data")

    (tmp_path / "elsewhere" / "rows.csv").write_text("two")

    assert data_digest(tmp_path / "data") != before


def test_a_link_to_a_folder_that_it_lies_in_is_not_followed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.csv").touch()
        (tmp_path / name / "up").symlink_to(tmp_path)
    (tmp_path / "one" / "across").symlink_to(tmp_path / "two")
    (tmp_path / "two" / "across").symlink_to(tmp_path / "one")

    assert sorted(files_below(tmp_path)) == [
        "one/across/rows.csv",
        "one/rows.csv",
        "two/across/rows.csv",
        "two/rows.csv",
    ]


def test_a_link_to_nothing_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").touch()
    (tmp_path / ".#rows.csv").symlink_to("someone@somewhere.1234")
    os.mkfifo(tmp_path / "pipe")

    assert list(files_below(tmp_path)) == ["rows.csv"]


def test_the_folder_itself_and_its_place_make_no_difference(tmp_path: Path) -> None:
    for place in ("a", "b/deep"):
        (tmp_path / place / "sub").mkdir(parents=True)
        (tmp_path / place / "rows.csv").write_text("1")
        (tmp_path / place / "sub" / "rows.csv").write_text("2")

    assert data_digest(tmp_path / "a") == data_digest(tmp_path / "b" / "deep")
    assert data_digest(tmp_path / "a") == data_digest(Path(f"{tmp_path}/b/../a/"))


def test_what_mlflow_adds_to_a_registered_model_on_loading_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {}")
    before = data_digest(tmp_path)
    (tmp_path / "registered_model_meta").write_text("model_name: m")
    assert data_digest(tmp_path) == before
    (tmp_path / "code" / "__pycache__").mkdir(parents=True)
    (tmp_path / "code" / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"compiled")
    assert data_digest(tmp_path) == before
    (tmp_path / "MLmodel").unlink()  # then it is a folder like any other
    digest = data_digest(tmp_path)
    (tmp_path / "registered_model_meta").write_text("model_name: n")
    assert data_digest(tmp_path) != digest
