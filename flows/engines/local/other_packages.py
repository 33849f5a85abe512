"""Hints for scripts that failed because the interpreter lacks a package, or has another version of it."""

import re
from collections.abc import Sequence
from pathlib import Path

from flows.engines.plan.environment import shortfalls
from flows.engines.plan.interpreter import Interpreter
from flows.spec.model.job import Environment

_ABSENT = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")
_CHANGED = re.compile(
    r"(\w+\.)*(AttributeError: .*\bhas no attribute\b|ImportError: cannot import name\b"
    r"|TypeError: .*\bunexpected keyword argument\b)"
)


def speaks_of_packages(lines: Sequence[str]) -> bool:
    """Whether the last lines of a script's log tell of a missing package, or of another version of one."""
    return any(_ABSENT.match(line) or _CHANGED.match(line) for line in lines)


def other_packages(
    lines: Sequence[str], environment: Environment | None, interpreter: Interpreter, python: Path, code: Path
) -> str:
    """Which package a failed script lacks, and the remedy; empty if the last lines of its log tell of none.

    Args:
        lines: The last lines of its log.
        environment: The definition of the environment that it asks for.
        interpreter: What the interpreter has.
        python: Where that is.
        code: The folder that the script ran in, whose own modules are no packages.
    """
    absent = [match[1] for line in lines if (match := _ABSENT.match(line))]
    missing = absent[-1].partition(".")[0] if absent else None
    if missing is not None and not (code / missing).exists():
        return f"{python} (Python {interpreter.release}) has no {missing}. Name one that has it: --python PATH"
    if absent or not speaks_of_packages(lines):
        return ""
    asked = () if environment is None else shortfalls(environment, interpreter)
    why = (
        f"Its environment asks for {', '.join(map(str, asked))}."
        if asked
        else f"It may be written for other packages than those of {python} (Python {interpreter.release})."
    )
    return f"{why} Name an interpreter that has them: --python PATH"
