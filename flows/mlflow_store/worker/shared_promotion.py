"""Promotion on a registry that several machines share: of several models compared with one champion, one is promoted.

MLflow's registry sets an alias without a condition, and no lock reaches all machines. But it numbers the versions of a
model one after the other, and makes a version together with its tags in one request. So the versions are the record of
what was decided, and the alias ``champion`` follows it:

1. *Claim*: who wants to promote makes a version, with the tags ``tandem.compared_with`` (the champion that its model
   was compared with), ``tandem.flow_run`` and ``tandem.promotion.by.<writer>`` (the time). As long as a version has
   such a tag that is not older than an hour, it is *open*: somebody may be about to set the alias to it.
2. *Decide*: who has a claim lists all versions, and then reads the champion. If that is another version than the one it
   was compared with, it has lost. Otherwise the open claim with the lowest number that was compared with this champion
   wins. A number is given only when all lower ones are seen, so all who look at one champion see the same lowest claim.
3. *Write*: the winner is tagged ``tandem.promotion: promoted``, then the alias is set to it. Whoever finds that another
   claim has won does this for it, after adding a tag ``tandem.promotion.by.…`` of its own and looking once more; so the
   process of the winner may be dead.
4. *Settle*: after setting the alias, it is read again. If the alias names an open version that another promoted one was
   compared with, this write came too late, and the alias is set to the later one. Everyone who reads the champion goes
   by the same rule (:meth:`SharedPromotion.champion`), so a write that came too late misleads nobody, even if its
   process has died.
5. *Close*: the tags ``tandem.promotion.by.<writer>`` are taken away. Who has lost deletes the version of its claim.

Why one wins: of two claims on one champion, the higher one sees the lower one in its list, unless that was closed,
which is after the alias was set; then it reads another champion, and has lost. Why the decision lasts: see 4. What was
promoted stays so for whoever asks again, by its tags.

A person who moves the alias by hand is respected: an alias on a version that nobody is about to write is the champion,
whatever was promoted before. Not covered: a process that stands still for more than half an hour between 2 and 3; and a
person who moves the alias in the same second as a promotion.
"""

import contextlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.mlflow_store.worker.errors import Away

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
COMPARED_WITH = "tandem.compared_with"
STATE, PROMOTED = "tandem.promotion", "promoted"
BY = "tandem.promotion.by."
OPEN_SECONDS = 3600.0
ROUNDS = 50


@dataclass(frozen=True, slots=True)
class Seen:
    """The versions of a model by number, and the champion: the alias as it is, and as it should be."""

    versions: "Mapping[int, ModelVersion]"
    alias: int | None
    champion: int | None


class SharedPromotion:
    """One promotion by this process. ``list_versions`` and ``read_alias`` ask the registry about the one model."""

    def __init__(
        self,
        client: Any,
        model_name: str,
        list_versions: "Callable[[], Sequence[ModelVersion]]",
        read_alias: Callable[[], int | None],
    ) -> None:
        self._client = client
        self._name = model_name
        self._list_versions = list_versions
        self._read_alias = read_alias
        self._writer = f"{BY}{uuid.uuid4().hex}"

    @property
    def claim_tags(self) -> Mapping[str, str]:
        """The tag that opens a claim. A version is made with it."""
        return {self._writer: f"{time.time():.0f}"}

    def look(self) -> Seen:
        """List the versions, then read the alias; not the other way round, or a late write would pass for a decision.

        Raises:
            Away: The alias names a version that is not there.
        """
        alias: int | None = None
        for _ in range(ROUNDS):
            versions = {int(version.version): version for version in self._list_versions()}
            alias = self._read_alias()
            if alias is None or alias in versions:
                return Seen(versions, alias, _settled(versions, alias))
        raise Away(f"The alias champion of {self._name!r} names version {alias}, which is not there.")

    def champion(self) -> "ModelVersion | None":
        """Find the champion. An alias that was set too late is corrected, for other programs that read it."""
        seen = self.look()
        if seen.champion != seen.alias:
            self.settle()
            seen = self.look()
        return None if seen.champion is None else seen.versions[seen.champion]

    def promote(
        self,
        decision: Mapping[str, str],
        compared_with: int | None,
        claim: "Callable[[], ModelVersion]",
    ) -> "tuple[ModelVersion, bool] | int | None":
        """Promote a model, or find that another one was.

        Args:
            decision: The tags by which the versions of this very decision are known again.
            compared_with: The champion that the model was compared with.
            claim: Makes the version, with :attr:`claim_tags`.

        Returns:
            The version, and whether it is new; or the number of the champion that it was overtaken by (None: there is
            no champion any more).
        """
        created = False
        for _ in range(ROUNDS):
            seen = self.look()
            mine = [n for n, version in sorted(seen.versions.items()) if decision.items() <= version.tags.items()]
            done = [n for n in mine if _is_promoted(seen.versions[n])]
            if done and seen.champion != compared_with:
                self._close(mine, keep=done[0])
                self._close_own(seen)
                return self._client.get_model_version(self._name, str(done[0])), created
            if seen.champion != compared_with:
                self._close(mine)
                self._close_own(seen)
                return seen.champion
            if not any(_is_open(seen.versions[n]) for n in mine):
                # What is left of an earlier start is too old to count: another may have been decided on without it.
                self._close(mine)
                claim()
                created = True
                continue
            wanted = str(compared_with) if compared_with is not None else "none"
            claims = [n for n, v in seen.versions.items() if v.tags.get(COMPARED_WITH) == wanted and _is_open(v)]
            self._decide(seen, min(claims))
        raise Away(f"The registry of {self._name!r} changes all the time: {ROUNDS} looks did not decide it.")

    def _decide(self, seen: Seen, winner: int) -> None:
        """Make the winner the champion. The claim of another process is only tagged by the first call."""
        began = seen.versions[winner].tags.get(self._writer)
        if began is None or time.time() - float(began) > OPEN_SECONDS / 2:
            self._tag(winner, self._writer, f"{time.time():.0f}")
            return
        self._tag(winner, STATE, PROMOTED)
        self._write(winner)
        self.settle()

    def settle(self) -> int | None:
        """Correct an alias that was set too late, and return the number of the champion."""
        for _ in range(ROUNDS):
            seen = self.look()
            if seen.champion == seen.alias or seen.champion is None:
                self._close_own(seen)
                return seen.champion
            if self._writer not in seen.versions[seen.champion].tags:
                self._tag(seen.champion, self._writer, f"{time.time():.0f}")
                continue
            self._write(seen.champion)
        raise Away(f"The alias champion of {self._name!r} changes all the time.")

    def _write(self, number: int) -> None:
        self._client.set_registered_model_alias(self._name, CHAMPION, str(number))

    def _tag(self, number: int, name: str, value: str) -> None:
        self._client.set_model_version_tag(self._name, str(number), name, value)

    def _close_own(self, seen: Seen) -> None:
        for number, version in seen.versions.items():
            if self._writer in version.tags and _is_promoted(version):
                self._untag(number, self._writer)

    def _close(self, numbers: Sequence[int], keep: int | None = None) -> None:
        """Delete the claims that are not ours to keep, and close the one that is."""
        for number in numbers:
            if number != keep:
                with contextlib.suppress(Exception):  # it is in nobody's way: nothing points to it
                    self._client.delete_model_version(self._name, str(number))

    def _untag(self, number: int, name: str) -> None:
        with contextlib.suppress(Exception):  # else it ends by its age
            self._client.delete_model_version_tag(self._name, str(number), name)


def _settled(versions: "Mapping[int, ModelVersion]", alias: int | None) -> int | None:
    """The champion: the version that the alias names, or the last one that was promoted after it, if it is open."""
    number = alias
    while number is not None and _is_open(versions[number]):
        later = [
            n
            for n, version in versions.items()
            if n > number and version.tags.get(COMPARED_WITH) == str(number) and _is_promoted(version)
        ]
        if not later:
            break
        number = max(later)
    return number


def _is_promoted(version: "ModelVersion") -> bool:
    return version.tags.get(STATE) == PROMOTED


def _is_open(version: "ModelVersion") -> bool:
    """Whether somebody may be about to set the alias to a version, or has died before saying that it has."""
    began = [value for name, value in version.tags.items() if name.startswith(BY)]
    return any(value.isdecimal() and time.time() - int(value) < OPEN_SECONDS for value in began)
