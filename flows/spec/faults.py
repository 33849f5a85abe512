"""All faults of a reading, in the order of the files, raised as one error."""

from collections.abc import Iterable, Iterator

from flows.errors import Fault, SpecError


def without_echoes(faults: Iterable[Fault], noted: Iterable[Fault]) -> Iterator[Fault]:
    """The faults that do not stand where one is noted already: what could not be read is not missing as well."""
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
    return sorted(unique, key=lambda fault: (files.index(fault.place.file), fault.place.line))


def _prefixes(key: str) -> Iterator[str]:
    while key:
        yield key
        key = key.rpartition(".")[0]
