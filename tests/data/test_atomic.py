"""A file is replaced whole or not at all."""

from pathlib import Path

import pytest

from flows.data.atomic import atomic_write


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    place = tmp_path / "a.json"
    place.write_text("old")

    atomic_write(place, "ż", 0o755)

    assert place.read_text(encoding="utf-8") == "ż"
    assert place.stat().st_mode & 0o777 == 0o755
    assert list(tmp_path.iterdir()) == [place]


def test_what_cannot_be_written_leaves_the_old_and_no_draft(tmp_path: Path) -> None:
    place = tmp_path / "a.json"
    place.mkdir()  # which no file can replace

    with pytest.raises(OSError):
        atomic_write(place, "new")

    assert list(tmp_path.iterdir()) == [place]
