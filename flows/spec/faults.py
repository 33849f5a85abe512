"""All faults of a reading, raised as one error in the order of the file."""

from collections.abc import Iterable, Iterator

from flows.errors import Fault, SpecError


def without_echoes(faults: Iterable[Fault], noted: Iterable[Fault]) -> Iterator[Fault]:
    """The faults that do not stand where one is noted already: what could not be read is not missing as well."""
    places = {(fault.place.file, key) for fault in noted for key in _prefixes(fault.place.key)}
    return (fault for fault in faults if (fault.place.file, fault.place.key) not in places)


def raise_faults(faults: Iterable[Fault]) -> None:
    """Raise every fault, each once, if there is any.

    Files come in the order in which their first fault was met: the job's before those it names.

    Raises:
        SpecError: There is a fault.
    """
    unique = list(dict.fromkeys(faults))
    files = list(dict.fromkeys(fault.place.file for fault in unique))
    if unique:
        raise SpecError(sorted(unique, key=lambda fault: (files.index(fault.place.file), fault.place.line)))


def _prefixes(key: str) -> Iterator[str]:
    while key:
        yield key
        key = key.rpartition(".")[0]
