"""What a terminal is sent of a text that someone else wrote: every letter, and no command."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.plain_text.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("root:x:0 :smile: [bold]b[/bold] [/] 'żółć' 👩‍🔬", "root:x:0 :smile: [bold]b[/bold] [/] 'żółć' 👩‍🔬"),
        ("a\tb\nc", "a\tb\nc"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b]0;title\x07", "^[[2J^[]0;title^G"),
        ("10 %\r20 %\x08\x7f\0", "10 %^M20 %^H^?^@"),
        ("\x9b2J\x85", "\\x9b2J\\x85"),
        ("\u202egpj.exe\u2066", "\\u202egpj.exe\\u2066"),
        ("\udcff", "\\udcff"),
    ],
)
def test_letters_are_shown_as_they_are_and_control_characters_made_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_what_the_terminal_has_no_letter_for_is_written_by_its_number() -> None:
    assert visible("café ż", "latin-1") == "café \\u017c"


@given(st.text() | st.text("\x1b[;0123456789m\r\nab"))
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    shown = visible(text)
    assert {letter for letter in shown if unicodedata.category(letter) in ("Cc", "Cs")} <= {"\n", "\t"}
    assert visible(shown) == shown
