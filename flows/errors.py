"""The error classes. Each message says what happened, to which thing, what is left behind, and what to do next.

::

    TandemError
    ├── UserError               exit code 2: something a person gave is wrong; nothing was run, a retry is useless
    │   ├── SpecError           the YAML: every fault at once, each with file, line, key and remedy
    │   ├── ParameterError      a flag or a flow parameter
    │   ├── DataAssetError      a data asset or file that is not there, or is not what it should be
    │   ├── CannotRunHere       a job with steps or data that this machine has no means for; all are named
    │   └── SettingsError       the environment: workspace, identity, folders, interpreter
    ├── RunError                exit code 1: it was run, and it failed
    │   ├── StepFailed          a step's command ended with an error; names the step and its log
    │   └── RunCanceled         someone stopped it
    ├── ServiceError            exit code 3: a server did not answer or refused; the only kind worth a retry
    └── StateError              exit code 4: the local state cannot be used: full, read-only, another's, broken, in use
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


class TandemError(Exception):
    """Any error that Tandem raises on purpose. Its text is meant for a person and needs no traceback."""

    exit_code: ClassVar[int] = 1


class UserError(TandemError):
    """Something that a person gave is wrong. Nothing was run."""

    exit_code = 2


class ParameterError(UserError):
    """A flag or a flow parameter is wrong."""


class DataAssetError(UserError):
    """A data asset or data file is missing, or is not what it should be."""


class CannotRunHere(UserError):
    """A job needs steps or data that are not to be had on this machine. Nothing was run."""


class SettingsError(UserError):
    """The environment is not set up: workspace, identity, a folder, an interpreter."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: file, line and dotted key, such as ``jobs.train.inputs.reg_rate``.

    Lines count from 1; None means the file itself, such as one that is not there.
    """

    file: Path
    line: int | None
    key: str

    def __str__(self) -> str:
        where = f"{self.file}" if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.key}" if self.key else where


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a YAML file: where it stands, what is wrong, and what would be right.

    A ``warning`` is no fault: the file is valid, and is probably not what was meant.
    """

    place: Place
    message: str
    remedy: str = ""
    warning: bool = False

    def __str__(self) -> str:
        what = f"warning: {self.message}" if self.warning else self.message
        return f"{self.place}: {what}" + (f"\n    {self.remedy}" if self.remedy else "")


class SpecError(UserError):
    """The YAML is wrong. Carries every fault that was found, in the order of the file."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class RunError(TandemError):
    """It was run, and it failed."""


class StepFailed(RunError):
    """A step's command ended with an error. ``outcome`` is that of the whole job, where it is known."""

    def __init__(self, message: str, outcome: object = None) -> None:
        super().__init__(message)
        self.outcome = outcome


class RunCanceled(RunError):
    """Someone stopped the run."""

    exit_code = 130


class ServiceError(TandemError):
    """A server did not answer, or refused. The only kind of error that a retry may cure."""

    exit_code = 3


class ServingError(TandemError):
    """An endpoint or a deployment is not there, cannot be made, or does not answer."""


class EndpointBusyError(ServiceError, ServingError):
    """Somebody else is changing an endpoint. A retry may cure it: a deployed flow run waits by that for its turn."""

    exit_code = 1


class StateError(TandemError):
    """The local state cannot be used: no space, no permission, a broken database, or somebody else is using it."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class ServerFault:
    """Why a server cannot be used, found before anything was run.

    Attributes:
        does: What it does, such as ``does not answer: …``.
        remedy: What a person can do.
        command: What to type; may be empty.
        error: What a command raises.
        certain: False where the server's own client may get on: it trusts other certificates, and knows more ways to
            sign in.
    """

    does: str
    remedy: str
    command: str
    error: type[TandemError]
    certain: bool = True

    def raised(self, server: str) -> TandemError:
        """The error that a command ends with; ``server`` names the server, such as ``The Prefect API at http://…``."""
        remedy = f"{self.remedy}: {self.command}" if self.command else f"{self.remedy}."
        return self.error(f"{server} {self.does}. Nothing was run. {remedy}")
