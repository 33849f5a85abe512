"""Findings of the checks, and how they are printed."""

import json
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

from flows.plain_text.table import aligned

CHECKS = (
    *("versions", "state", "disk", "prefect api", "work pool", "messages", "mlflow", "artifacts"),
    *("variables", "identity", "workspace", "compute", "quota", "environment", "data asset"),
)
_WIDTHS = (4, max(map(len, CHECKS)))  # a finding is printed before the next is known
_INDENT = sum(_WIDTHS) + 3 * 2


class Status(StrEnum):
    """How a check came out. What is only worth knowing is a warning; a check that could not be made is skipped."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"
    SKIP = "skip"


_COLOURS = {Status.OK: 32, Status.WARN: 33, Status.FAIL: 31, Status.SKIP: 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found; if something is to be done, what that is, and the command to type, if there is one."""

    check: str
    status: Status
    message: str
    remedy: str = ""
    command: str = ""


def ok(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(check, Status.OK, message)


def warn(check: str, message: str, remedy: str = "", command: str = "") -> Finding:
    """Runs go, but not as somebody may expect."""
    return Finding(check, Status.WARN, message, remedy, command)


def fail(check: str, message: str, remedy: str = "", command: str = "") -> Finding:
    """Runs will not go."""
    return Finding(check, Status.FAIL, message, remedy, command)


def skip(check: str, message: str) -> Finding:
    """There was nothing to check, or no way to."""
    return Finding(check, Status.SKIP, message)


def finding_as_text(finding: Finding, width: int | None = None, colour: bool = False) -> str:
    """A finding in one line; where ``width`` is given, wrapped to it but for the command, the remedy below."""
    message = " ".join(finding.message.split())
    advice = [part for part in (finding.remedy, finding.command) if part]
    if width is None:
        lines = [" -> ".join(filter(None, (message, ": ".join(advice))))]
    else:
        lines = _wrapped(message, width)
        if finding.remedy:
            lines += _wrapped(f"-> {finding.remedy}" + (":" if finding.command else ""), width, "   ")
        if finding.command:
            lines.append(f"{'  ' if finding.remedy else '->'} {finding.command}")
    text = "\n".join(aligned([(finding.status, finding.check, tuple(lines))], least=_WIDTHS))
    coloured = f"\033[{_COLOURS[finding.status]}m{finding.status}\033[0m"
    return text.replace(finding.status, coloured, 1) if colour else text


def findings_as_json(findings: Iterable[Finding]) -> str:
    """All findings as a JSON list of objects."""
    return json.dumps([asdict(finding) for finding in findings], indent=2)


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    room = max(width - _INDENT, 30)
    return textwrap.wrap(text, room, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
