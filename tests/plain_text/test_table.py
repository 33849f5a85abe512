"""Tables as every command prints them."""

import re
import subprocess
import sys

from flows.plain_text.table import aligned
from tests.terminal import PROJECT


def test_every_column_is_as_wide_as_its_widest_cell_and_no_line_ends_in_blanks() -> None:
    rows = [["job", "status", "age"], ["a", "Completed", ""], ["longer-name", "Failed", "2 min"]]
    assert aligned(rows) == [
        "  job          status     age",
        "  a            Completed",
        "  longer-name  Failed     2 min",
    ]


def test_numbers_stand_to_the_right_and_rows_may_be_shorter_than_others() -> None:
    rows = [["metric", "challenger", "champion"], ["AUC", "0.5", "12.25"], ["reason"]]
    assert aligned(rows, right=(1, 2), indent="") == [
        "metric  challenger  champion",
        "AUC            0.5     12.25",
        "reason",
    ]
    assert aligned([]) == []


def test_cell_is_shown_to_the_letter_and_takes_one_line_whatever_is_in_it() -> None:
    rows = [["[bold]:x:", "1"], ["\x1b[2Jmoved", "2"], ["two\nlines\t", "3\n4"]]
    assert aligned(rows) == [
        "  [bold]:x:     1",
        "  ^[[2Jmoved    2",
        "  two^Jlines^I  3^J4",
    ]


def test_columns_stay_aligned_below_letters_that_are_wide_or_take_no_room() -> None:
    rows = [["糖尿病", "1"], ["e\u0301tude", "2"], ["abcdef", "3"]]
    assert aligned(rows) == ["  糖尿病  1", "  e\u0301tude   2", "  abcdef  3"]


def test_last_cell_of_several_texts_is_wrapped_beside_the_others() -> None:
    why = ("one two three four five six seven eight nine ten", "again")
    assert aligned([("train", "run", why), ("prep", "reuse", ())], width=56, least=(0, 6)) == [
        "  train  run     one two three four five six seven eight",
        "                 nine ten",
        "                 again",
        "  prep   reuse",
    ]


def test_cell_that_is_too_wide_has_a_line_of_its_own() -> None:
    assert aligned([("1", "a-very-long-name", "run"), ("2", "b", "reuse")], most=6) == [
        "  1  a-very-long-name",
        "             run",
        "  2  b       reuse",
    ]


def test_table_of_plain_letters_imports_no_rich() -> None:
    code = "import sys; from flows.plain_text.table import aligned; aligned([['a', 'b']]); print('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_no_other_module_aligns_columns_by_hand() -> None:
    by_hand = re.compile(r"\.[lr]just\(|:[<>]\{")
    files = [file for file in (PROJECT / "flows").rglob("*.py") if by_hand.search(file.read_text(encoding="utf-8"))]
    assert files == []
