"""Reads a job's YAML file, and gives its inputs the values of a command line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from flows.errors import ParameterError
from flows.spec.bind import bind
from flows.spec.model.job import JobSpec
from flows.spec.reading.reader import read_job

_NO_ASSETS: Mapping[str, Path] = MappingProxyType({})


def bound_job(file: str, inputs: Mapping[str, str], components: Mapping[str, Path] = _NO_ASSETS) -> JobSpec:
    """Read the job of a file, and give its inputs these values.

    ``components`` are local YAML files for registered components, by name or reference.

    Raises:
        SpecError: The file is wrong.
        ParameterError: A value is wrong or missing.
    """
    return bind(read_job(Path(file).absolute(), components), dict(inputs))


def settings_from_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """Parse ``NAME=VALUE`` pairs.

    Raises:
        ParameterError: One has no ``=``.
    """
    for pair in pairs:
        if "=" not in pair:
            raise ParameterError(f"--set {pair}: write --set inputs.NAME=VALUE.")
    return dict(pair.split("=", 1) for pair in pairs)
