"""Escapes text for Markdown, so that it is shown as it was written. Pure."""

import re

# What begins markup, HTML or a cell of a table in the middle of a line; ``_`` does not within a word.
_MARKUP = re.compile(r"[\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_])")
_FENCES = re.compile("`+")


def plain(text: str) -> str:
    """Text for a paragraph, an item of a list or a cell of a table; line ends become blanks."""
    return _MARKUP.sub(lambda match: f"&#{ord(match[0])};", " ".join(text.split()))


def code(text: str) -> str:
    """Text as code within a line."""
    fence = _fence(text, 1)
    edge = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{edge}{' '.join(text.split())}{edge}{fence}"


def code_block(text: str) -> str:
    """Text as a block of code."""
    fence = _fence(text, 3)
    return f"{fence}\n{text}\n{fence}"


def _fence(text: str, least: int) -> str:
    """More backticks than the text has in a row."""
    return "`" * max([least, *(len(found) + 1 for found in _FENCES.findall(text) if len(found) >= least)])
