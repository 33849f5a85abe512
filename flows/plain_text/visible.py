"""Text from outside as it may go to a terminal: every letter as it is, control characters made visible. Pure.

What a step prints, what a service says and what a file is called is not written by the person at the terminal. Sent on
as it is, it could clear the screen, set the title, move what was printed before, or answer for the keyboard. So colours
are dropped, and any other control character is shown the way ``cat -v`` shows it. Log files keep all bytes.
"""

import re

_COLOURS = re.compile("\x1b\\[[0-9;:]*m")
_KEPT = "\n\t"
_REORDERING = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))  # letters would stand elsewhere than they were written
_SHOWN = {
    **{number: f"^{chr(number ^ 0x40)}" for number in (*range(0x20), 0x7F) if chr(number) not in _KEPT},
    **{number: f"\\x{number:02x}" for number in range(0x80, 0xA0)},
    **{number: f"\\u{number:04x}" for number in _REORDERING},
}


def visible(text: str, encoding: str = "utf-8") -> str:
    """The text as a terminal may show it; what ``encoding`` does not have is written by its number."""
    if text.isascii() and text.isprintable():
        return text
    shown = _COLOURS.sub("", text).translate(_SHOWN)
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def visible_line(text: str) -> str:
    """The text as one line: line breaks and tabs are made visible, too."""
    return visible(text).replace("\n", "^J").replace("\t", "^I")
