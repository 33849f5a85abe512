"""Moves of the champion by a person: what is written down of each, and what a later training makes of it. Pure.

A move is written down as tags, at the version that becomes the champion and at the one that was it. The name of the tag
has the time in it, so no move is ever written over. A tag of Azure has room for 256 characters.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from flows.errors import ParameterError
from flows.mlflow_store.model_registry import ModelVersion
from flows.tags import BASIS, MOVED, ROLLED_BACK, compared_with
from flows.training.basis import short_digest

MAX_REASON = 160
_IN_PLACE_OF = re.compile(r"champion in place of (\d+),")


@dataclass(frozen=True, slots=True)
class Move:
    """A person makes another version the champion.

    Attributes:
        to: The version that becomes it.
        before: The version that was it; None if there was no champion.
        who: The person.
        why: The reason, as that person gives it.
        at: When, in UTC.
    """

    to: ModelVersion
    before: ModelVersion | None
    who: str
    why: str
    at: datetime

    def __post_init__(self) -> None:
        """See that there is a reason, which fits into a tag.

        Raises:
            ParameterError: It is empty, or too long.
        """
        if not self.why.strip():
            raise ParameterError("Say why with --reason TEXT: it is kept with both versions. Nothing was changed.")
        if len(self.why) > MAX_REASON:
            raise ParameterError(
                f"The reason has {len(self.why)} characters, and {MAX_REASON} are kept. Nothing was changed."
            )

    @property
    def tag(self) -> str:
        """The name of the tag, with the time of the move."""
        return f"{MOVED}.{self.at.astimezone(UTC):%Y%m%dT%H%M%SZ}"

    @property
    def is_back(self) -> bool:
        """Whether it goes back: to a lower version than the one that was the champion."""
        return self.before is not None and self.to.version < self.before.version

    def tags_of_new(self) -> dict[str, str]:
        """The tags of the version that becomes the champion."""
        came = "" if self.before is None else f" in place of {self.before.version}"
        tags = {self.tag: f"champion{came}, by {self.who}: {self.why}"}
        held = rolled_back_from(self.before)
        if self.is_back and self.before is not None and BASIS in self.before.tags:
            held = {**held, self.before.version: short_digest(self.before.tags[BASIS])}
        held.pop(self.to.version, None)  # who is made the champion on purpose is held back no longer
        return {**tags, **held_back_tag(held)}

    def tags_of_old(self) -> dict[str, str]:
        """The tags of the version that was the champion."""
        return {self.tag: f"no longer champion, {self.to.version} is, by {self.who}: {self.why}"}


def replaced(version: ModelVersion) -> int | None:
    """Which version this one replaced as the champion: by the last move forward, else by the gate; None for none.

    What it was moved back from does not count: who goes back twice comes to what was there before both.
    """
    moves = sorted((name, text) for name, text in version.tags.items() if name.startswith(f"{MOVED}."))
    numbers = [int(found[1]) for _, text in moves if (found := _IN_PLACE_OF.match(text))]
    earlier = [number for number in numbers if number < version.version]
    return earlier[-1] if earlier else compared_with(version.tags)


def rolled_back_from(champion: ModelVersion | None) -> dict[int, str]:
    """The versions that were rolled back from until now, each with the digest of the basis that it rested on."""
    pairs = ("" if champion is None else champion.tags.get(ROLLED_BACK, "")).split()
    split = (pair.partition("=") for pair in pairs)
    return {int(version): digest for version, _, digest in split if version.isdecimal() and digest}


def held_back_tag(held: Mapping[int, str]) -> dict[str, str]:
    """The tag of a champion that names them, the newest that it has room for; none if there are none."""
    newest = sorted(held.items())[-8:]
    return {ROLLED_BACK: " ".join(f"{version}={digest}" for version, digest in newest)} if newest else {}


def held_back(champion: ModelVersion | None, basis: str) -> str:
    """Why a model that rests on this basis does not become the champion, in words; empty if nothing is against it.

    What a person has rolled back from is not promoted again, unless data, code, parameters or environment change.
    """
    digest = short_digest(basis)
    found = [version for version, rested_on in rolled_back_from(champion).items() if rested_on == digest]
    if not found or champion is None:
        return ""
    return (
        f"version {max(found)}, of the same data, code, parameters and environment, was rolled back from; "
        f"to use it all the same: tandem promote {champion.name}:{max(found)} --reason TEXT"
    )
