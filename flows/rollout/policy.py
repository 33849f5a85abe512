"""Rollout policy: the steps of traffic, the limits of each check, and how long the old colour is kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from flows.errors import ParameterError
from flows.spec.text.section import nearest

PREFIX = "tandem.rollout."
MOST_MIRRORED = 50  # percent, as Azure ML allows


@dataclass(frozen=True, slots=True)
class RolloutPolicy:
    """How a new deployment takes over from the old one.

    Attributes:
        steps: The shares of the new deployment, one after the other, in percent; rising, and the last is 100.
        pause_seconds: How long each share is held before it is checked and the next is set.
        mirror_percent: The share of the requests that the new deployment gets a copy of before the first step; 0 to 50.
        requests: How many requests each check sends.
        max_error_share: The greatest share of them that may fail, 0 to 1.
        max_p99_seconds: The longest that 99 of 100 of them may take.
        keep_seconds: How long the old deployment is kept without traffic, ready to take over again.
        lease_seconds: How long a rollout that shows no sign of life keeps others from changing the endpoint.
    """

    steps: tuple[int, ...] = (10, 50, 100)
    pause_seconds: float = 60.0
    mirror_percent: int = 0
    requests: int = 50
    max_error_share: float = 0.0
    max_p99_seconds: float = 2.0
    keep_seconds: float = 600.0
    lease_seconds: float = 300.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ParameterError: A value is out of its range.
        """
        rising = all(before < after for before, after in zip((0, *self.steps), self.steps, strict=False))
        if not self.steps or not rising or self.steps[-1] != 100:
            raise ParameterError(
                f"The steps of a rollout are rising shares in percent that end at 100, such as 10 50 100, and not "
                f"{' '.join(map(str, self.steps)) or 'none'}."
            )
        _in_range("mirror_percent", self.mirror_percent, 0, MOST_MIRRORED)
        _in_range("requests", self.requests, 1, 10_000)
        _in_range("max_error_share", self.max_error_share, 0, 1)
        _in_range("max_p99_seconds", self.max_p99_seconds, 0.001, 180)
        _in_range("pause_seconds", self.pause_seconds, 0, 86_400)
        _in_range("keep_seconds", self.keep_seconds, 0, 30 * 86_400)
        _in_range("lease_seconds", self.lease_seconds, 1, 86_400)

    @classmethod
    def of(cls, tags: Mapping[str, str], given: Mapping[str, Any] | None = None) -> "RolloutPolicy":
        """Read the policy from the tags of an endpoint's definition, such as ``tandem.rollout.steps: 10 50 100``.

        Args:
            tags: Of the definition. Those that do not begin with ``tandem.rollout.`` are no matter.
            given: Values that a person has chosen instead, by field.

        Raises:
            ParameterError: A tag is misspelt, or its value is no number in its range.
        """
        known = {one.name for one in fields(cls)}
        values: dict[str, Any] = {}
        for tag, text in tags.items():
            name = tag.removeprefix(PREFIX)
            if name == tag:
                continue
            if name not in known:
                meant = nearest(name, frozenset(known), "setting")
                raise ParameterError(f"The endpoint's definition has a tag {tag}, which no rollout knows. {meant}")
            values[name] = _read(tag, str(text), _TYPES.get(name, float))
        return cls(**{**values, **(given or {})})


def read_steps(text: str) -> tuple[int, ...]:
    """Read shares as a person writes them: ``10 50 100`` or ``10,50,100``.

    Raises:
        ParameterError: They are no whole numbers.
    """
    return _read("steps", text, _steps)


def _steps(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.replace(",", " ").split())


_TYPES: Mapping[str, Callable[[str], Any]] = {"steps": _steps, "mirror_percent": int, "requests": int}


def _read(tag: str, text: str, reader: Callable[[str], Any]) -> Any:
    try:
        return reader(text)
    except ValueError:
        what = "whole numbers with a space between them" if reader is _steps else "a number"
        raise ParameterError(f"{tag} is {text!r}, and not {what}.") from None


def _in_range(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ParameterError(f"The {name} of a rollout is between {least:g} and {most:g}, and not {value:g}.")
