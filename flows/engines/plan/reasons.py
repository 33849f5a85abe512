"""Reasons why a step runs instead of being reused. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import takewhile
from typing import Any

from flows.engines.plan.fingerprint import PYTHON, Fingerprint, Part

LONGEST_VALUE = 36  # characters of a value that are shown


class ReasonKind(StrEnum):
    """What kind of thing makes a step run."""

    FORCED = "forced"
    NOT_DETERMINISTIC = "not deterministic"
    FIRST_RUN = "first run"
    OUTPUT = "output"
    UPSTREAM = "upstream"
    COMPONENT = "component"
    CODE = "code"
    ENVIRONMENT = "environment"
    INTERPRETER = "interpreter"
    VARIABLE = "environment variable"
    INPUT_VALUE = "input value"
    INPUT_CONTENT = "input content"


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause: what it is about (a file, a package, an input), and where known, its value before and now.

    ``before`` is None for what is new, ``after`` for what is gone.
    """

    cause: ReasonKind
    what: str = ""
    before: str | None = None
    after: str | None = None

    def __str__(self) -> str:
        match self.cause:
            case ReasonKind.FORCED:
                return f"forced by {self.what}"
            case ReasonKind.NOT_DETERMINISTIC:
                return "is_deterministic is false: it runs every time"
            case ReasonKind.FIRST_RUN:
                return f"{self.what} has nothing to compare it with" if self.what else "it never ran to its end before"
            case ReasonKind.OUTPUT:
                return f"its earlier output {self.what} was {self.after}"
            case ReasonKind.UPSTREAM:
                return f"{self.what} runs first"
            case ReasonKind.CODE:
                return f"code file {self.what} {self._change()}"
            case ReasonKind.INPUT_CONTENT:
                return f"content of the input {self.what} changed"
            case ReasonKind.INPUT_VALUE:
                return f"input {self.what}: {_shown(self.before)} → {_shown(self.after)}"
            case _:
                return f"{self.cause} {self._named()}"

    def as_json(self) -> dict[str, Any]:
        """The reason for machines, with its sentence."""
        return {**asdict(self), "cause": self.cause.value, "text": str(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Reason":
        """The reason that :meth:`as_json` wrote down."""
        return cls(ReasonKind(values["cause"]), values["what"], values["before"], values["after"])

    def _change(self) -> str:
        return "added" if self.before is None else "removed" if self.after is None else "changed"

    def _named(self) -> str:
        """A line of a definition, with what it was and is, or the words in which those differ where they are short."""
        if not (self.before or self.after):
            return f"{self.what} {self._change()}".strip()
        before, after = self.before or "", self.after or ""
        if self.before is not None and self.after is not None and max(map(len, (before, after))) > LONGEST_VALUE:
            before, after = _words_that_differ(before, after)
        if max(map(len, (before, after))) > LONGEST_VALUE or "\n" in before + after:
            return f"{self.what} {self._change()}"
        if before and after:
            return f"{self.what}: {before} → {after}"
        return f"{self.what} {before or after} {'removed' if before else 'added'}"


def differences(
    before: Fingerprint, now: Fingerprint, part: Callable[[str], Part | None], unknown: frozenset[str] = frozenset()
) -> Iterator[Reason]:
    """All in which two fingerprints differ.

    Args:
        before: That of an earlier run.
        now: That of the step as it stands.
        part: Returns the part with a digest; None where that is not kept any more.
        unknown: The inputs that are not known yet, and not compared.
    """
    for name, cause in _PARTS.items():
        digests = before.parts.get(name), now.parts.get(name)
        if digests[0] != digests[1]:
            yield from _part_differences(cause, *(None if digest is None else part(digest) for digest in digests))
    for name in sorted({*before.inputs, *now.inputs} - unknown):
        one, other = before.inputs.get(name), now.inputs.get(name)
        if one != other:
            literal = (one or "=").startswith("=") and (other or "=").startswith("=")
            if literal or one is None or other is None:
                yield Reason(ReasonKind.INPUT_VALUE, name, _value(one), _value(other))
            else:
                yield Reason(ReasonKind.INPUT_CONTENT, name, one, other)


_PARTS = {
    "component": ReasonKind.COMPONENT,
    "code": ReasonKind.CODE,
    "environment": ReasonKind.ENVIRONMENT,
    "interpreter": ReasonKind.INTERPRETER,
    "variables": ReasonKind.VARIABLE,
}


def _part_differences(cause: ReasonKind, before: Part | None, now: Part | None) -> Iterator[Reason]:
    if before is None or now is None:
        yield Reason(cause, "", "", "")
        return
    hidden = cause in (ReasonKind.CODE, ReasonKind.VARIABLE)  # a digest says nothing to a person
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            one, other = before.get(name), now.get(name)
            if hidden:
                one, other = None if one is None else "", None if other is None else ""
            elif name == PYTHON:
                one, other = _releases(one or "", other or "")
            yield Reason(cause, name, one, other)


def _words_that_differ(before: str, now: str) -> tuple[str, str]:
    """What is left of two texts without the words that both begin and both end with."""
    one, other = before.split(), now.split()
    start = _shared(one, other)
    end = _shared(one[start:][::-1], other[start:][::-1])
    return " ".join(one[start : len(one) - end]), " ".join(other[start : len(other) - end])


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """How many items two sequences begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _releases(before: str, now: str) -> tuple[str, str]:
    """The versions alone where they tell the two apart."""
    short = before.partition(" ")[0], now.partition(" ")[0]
    return short if short[0] != short[1] else (before, now)


def _value(text: str | None) -> str | None:
    return text if text is None else text.removeprefix("=") if text.startswith("=") else "data"


def _shown(text: str | None) -> str:
    if text is None:
        return "no value"
    line = " ".join(text.split()) if text.strip() else repr(text)
    return line if len(line) <= LONGEST_VALUE else f"{line[: LONGEST_VALUE - 1]}…"
