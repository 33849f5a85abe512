"""Paths in messages: told once."""

from pathlib import Path


def unless_told(path: Path, told: str) -> str:
    """A colon, a blank and the path; nothing where what is told before has the path in it already."""
    return "" if str(path) in told else f": {path}"
