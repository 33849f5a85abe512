"""Collects the faults of a reading, in the order of the files, and raises them as one error."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from flows.errors import Fault, Place, SpecError
from flows.spec.text.limits import MAX_FINDINGS, MAX_MESSAGE, MAX_VALUES_IN_ALL
from flows.spec.text.names import shown


class TooManyError(Exception):
    """Ends a reading that has found more faults, or has more to read, than the limits allow."""


class Findings(list[Fault]):
    """What a reading has found so far, and how much it has read."""

    def __init__(self) -> None:
        super().__init__()
        self._values = 0

    def append(self, fault: Fault, /) -> None:
        """Note a fault or warning.

        Raises:
            TooManyError: There are as many as are shown.
        """
        super().append(replace(fault, message=shown(fault.message, MAX_MESSAGE)))
        if len(self) >= MAX_FINDINGS:
            raise TooManyError(f"reading has stopped after {MAX_FINDINGS} faults and warnings")

    def extend_by(self, faults: Iterable[Fault]) -> None:
        """Note one after the other, which are found as they are asked for.

        Raises:
            TooManyError: There are as many as are shown.
        """
        for fault in faults:
            self.append(fault)

    def take(self, values: int) -> None:
        """Count values that were read, or are used once more.

        Raises:
            TooManyError: They are more than a job may have in all.
        """
        self._values += values
        if self._values > MAX_VALUES_IN_ALL:
            raise TooManyError(
                f"the files of the job have more than {MAX_VALUES_IN_ALL:,} values, each as often as it is referred to"
            )


@contextmanager
def findings(file: Path) -> Generator[Findings]:
    """Collect what reading a file finds, even if reading stops before the end."""
    noted = Findings()
    try:
        yield noted
    except TooManyError as error:
        noted.insert(0, Fault(Place(file, 1, ""), str(error)))


def without_echoes(faults: Iterable[Fault], noted: Iterable[Fault]) -> Iterator[Fault]:
    """The faults at places where none is noted yet: a key that could not be read is not reported as missing too."""
    places = {(fault.place.file, key) for fault in noted if not fault.warning for key in _prefixes(fault.place.key)}
    return (fault for fault in faults if (fault.place.file, fault.place.key) not in places)


def raise_faults(faults: Iterable[Fault]) -> None:
    """Raise every fault that is no mere warning, if there is any.

    Raises:
        SpecError: There is a fault.
    """
    if wrong := ordered(fault for fault in faults if not fault.warning):
        raise SpecError(wrong)


def ordered(faults: Iterable[Fault]) -> list[Fault]:
    """Every fault once, in the order of the files.

    Files come in the order in which their first fault was met: the job's before those it names.
    """
    unique = list(dict.fromkeys(faults))
    files = list(dict.fromkeys(fault.place.file for fault in unique))
    return sorted(unique, key=lambda fault: (files.index(fault.place.file), fault.place.line or 0))


def _prefixes(key: str) -> Iterator[str]:
    while key:
        yield key
        key = key.rpartition(".")[0]
