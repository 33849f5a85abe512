"""Tables as aligned lines of plain text.

Every command prints its tables with :func:`aligned`: the same text on a terminal, in a file and in a pipe, with no
escape codes. Rich draws only the table that changes while a job runs. Its tables are cut to 80 columns in a pipe, read
markup and emoji in the cells unless each is escaped, and take some 0.06 s to import.
"""

import textwrap
from collections.abc import Collection, Iterator, Sequence

from flows.plain_text.visible import visible_line

_GAP = "  "
_LEAST_ROOM = 40  # columns for wrapped text, however wide what stands before it is

Row = Sequence[str | tuple[str, ...]]


def aligned(
    rows: Sequence[Row],
    *,
    right: Collection[int] = (),
    least: Sequence[int] = (),
    most: int | None = None,
    width: int | None = None,
    indent: str = _GAP,
) -> list[str]:
    """Rows of cells as lines, with every column as wide as its widest cell.

    A row may have fewer cells than others. Its last cell may be a tuple of texts, which stand below each other.

    Args:
        rows: The cells. Whatever is in them, each takes one line: line breaks and control characters are made visible.
        right: The columns, from 0, whose cells stand to the right.
        least: Widths that the first columns have at least, in columns of the terminal.
        most: The width that a column, but for a row's last, has at most. A wider cell has a line of its own, and the
            rest of its row follows in the next.
        width: The width to which last cells and cells with a line of their own are wrapped; None: they are not.
        indent: What every line begins with.
    """
    shown = [[_texts(cell) for cell in row] for row in rows]
    widths = list(least) + [0] * (max(map(len, shown), default=0) - len(least))
    for row in shown:
        for at, texts in enumerate(row):
            if at < len(row) - 1 or at in right:
                found = max(map(_width, texts), default=0)
                widths[at] = max(widths[at], found if most is None else min(found, most))
    return [line.rstrip() for row in shown for line in _lines(row, widths, right, width, indent)]


def _lines(
    row: Sequence[Sequence[str]], widths: Sequence[int], right: Collection[int], width: int | None, start: str
) -> Iterator[str]:
    *cells, last = row
    for at, (text,) in enumerate(cells):
        if _width(text) > widths[at]:
            yield from _hanging(start, _wrapped(text, start, width))
            start = " " * (_width(start) + widths[at]) + _GAP
        else:
            start += _padded(text, widths[at], at in right) + _GAP
    at = len(cells)
    pieces = [piece for text in last or ("",) for piece in _wrapped(text, start, width)]
    yield from _hanging(start, [_padded(piece, widths[at], True) for piece in pieces] if at in right else pieces)


def _hanging(start: str, texts: Sequence[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        yield (start if number == 0 else " " * _width(start)) + text


def _wrapped(text: str, start: str, width: int | None) -> list[str]:
    if width is None:
        return [text]
    return textwrap.wrap(text, max(width - _width(start), _LEAST_ROOM), break_on_hyphens=False) or [""]


def _padded(text: str, width: int, to_the_right: bool) -> str:
    blanks = " " * (width - _width(text))
    return blanks + text if to_the_right else text + blanks


def _texts(cell: str | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(visible_line, (cell,) if isinstance(cell, str) else cell))


def _width(text: str) -> int:
    """How many columns of a terminal a text takes, which is not the number of its characters in every script."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # imported here because most tables need it not

    return cell_len(text)
