"""What is passed on of a step's log while it grows."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.engines.local.step_log import LONGEST_LINE, Lines, follow, last_lines
from tests.engines.conftest import Await


def lines_of(*pieces: bytes) -> list[str]:
    lines = Lines()
    return [*(line for piece in pieces for line in lines.of(piece)), *lines.rest()]


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\nb", b"c\n\nd"], ["a", "bc", "", "d"]),
        ([b"root:x:0 [bold]\x1b[2J\n"], ["root:x:0 [bold]\x1b[2J"]),
        ([b"a\r\nb\r", b"\nc\r"], ["a", "b", "c"]),
        ([b"10 %\r20 %", b"\r", b"30 %\n", b"\rend\n"], ["30 %", "end"]),
        (["ż".encode()[:1], "ż".encode()[1:], b"\xff\0\n"], ["ż�␀"]),
        ([b""], []),
    ],
)
def test_lines_are_passed_on_as_they_were_written(pieces: Sequence[bytes], lines: list[str]) -> None:
    assert lines_of(*pieces) == lines


@given(st.lists(st.text(st.characters(exclude_characters="\r\n\0", codec="utf-8"))), st.integers(1, 7))
def test_lines_are_the_same_in_whatever_pieces_they_come(lines: list[str], size: int) -> None:
    written = "".join(f"{line}\n" for line in lines).encode()
    assert lines_of(*(written[at : at + size] for at in range(0, len(written), size))) == lines


def test_of_a_long_line_the_beginning_is_passed_on_and_no_more_of_it_kept() -> None:
    lines = Lines()
    for _ in range(100):
        assert list(lines.of(b"x" * 100_000)) == []
        assert sum(len(part) for part in vars(lines).values() if isinstance(part, bytes)) <= 4 * LONGEST_LINE

    (line,) = lines.of(b"\n")
    assert line == "x" * LONGEST_LINE + " … (9,990,000 bytes more, see the log file)"
    assert list(lines.of(b"next\n")) == ["next"]


def test_a_log_is_followed_to_its_end(tmp_path: Path, run: Await) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"first\n")
    heard: list[str] = []

    async def followed() -> None:
        ended = asyncio.get_running_loop().create_future()
        following = asyncio.create_task(follow(log, ended, heard.append))
        while not heard:
            await asyncio.sleep(0)
        log.write_bytes(b"first\nsecond\nlast")
        ended.set_result(None)
        await following

    run(followed())
    assert heard == ["first", "second", "last"]


def test_the_last_lines_of_a_log_are_read_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("".join(f"{number}\n" for number in range(1_000_000)) + "end")

    assert last_lines(log) == [*map(str, range(999_981, 1_000_000)), "end"]
