"""Entry of the table of engines: what is known of an engine before it is opened. Imports no engine."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from flows.settings import Settings

if TYPE_CHECKING:
    from flows.data.assets import ResolvedData
    from flows.engines.engine import Engine
    from flows.engines.polling import Timeouts
    from flows.engines.runs import PipelineRequest

Where = Literal["local", "azureml"]
"""Where MLflow keeps the runs of a job: on this machine, or in the workspace."""


class EngineKind(ABC):
    """An engine before it is opened: one entry in the table of engines, ``flows.engines.open_engine.ENGINES``.

    The methods import the engine when they are called, so that the table costs nothing to import.

    Attributes:
        name: The name that a person chooses it by.
        title: Its name in a message.
        needs_workspace: Whether it can be used only where the variables of the workspace are set.
        runs_here: Whether its steps run on this machine: data must be in local files, and outputs go to local paths.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    needs_workspace: ClassVar[bool] = False
    runs_here: ClassVar[bool] = False

    @abstractmethod
    def open(
        self, settings: Settings, timeouts: "Timeouts", tracking: Where, python: Path | None
    ) -> "AbstractAsyncContextManager[Engine]":
        """An engine for one flow run. When it is left, nothing that it started runs unwatched.

        ``python`` is the interpreter of steps on this machine, where it is not that of this process.

        Raises:
            SettingsError: The engine cannot be used here.
        """

    @abstractmethod
    async def register_data(self, settings: Settings, path: Path, name: str) -> "tuple[ResolvedData, bool]":
        """Make a file the next version of a data asset, unless it is there with the same content.

        Returns:
            The version with its SHA-256, and whether it is new.
        """

    def prepare(
        self, request: "Callable[[], PipelineRequest]", settings: Settings, tracking: Where
    ) -> Callable[[], None] | None:
        """What a command calls before it imports Prefect, to start what the job will need; None if that is nothing.

        Args:
            request: Says which job will be run. An engine that calls it finds wrong input before anything starts.
            settings: Where things are.
            tracking: Where MLflow keeps the runs.
        """
        return None

    def start_early(self, settings: Settings) -> None:
        """Start what a deployed flow run will need, in its pull step: before Prefect loads the flow."""
        return

    def open_jobs(self, settings: Settings) -> "AbstractAsyncContextManager[LastingJobs] | None":
        """The jobs that go on when the process that started them has ended; None if none does.

        A flow run that waits for one can be suspended.
        """
        return None

    async def end_jobs(
        self, settings: Settings, job_name: Callable[[], str | None], flow_run_id: str, say: Callable[[str], object]
    ) -> None:
        """Cancel the jobs of a flow run that is over, from any process, and wait until they are over too.

        Args:
            settings: Where things are.
            job_name: The name of the flow run's first job; None if it cannot be told any more.
            flow_run_id: The id of the flow run, by whose tag its jobs are found then.
            say: Takes one line for each thing that happens.
        """
        return


class LastingJob(Protocol):
    """A job that goes on when the process that started it has ended."""

    @property
    def status(self) -> str:
        """Its status, in Azure ML's words."""
        ...


class LastingJobs(Protocol):
    """Jobs that go on when the process that started them has ended, as any process can look at them."""

    async def find(self, name: str) -> LastingJob | None:
        """The job of this name, if there is one."""
        ...

    async def newest(self, tag: str, wanted: Collection[str], pages: int) -> tuple[Mapping[str, str], int]:
        """The statuses of jobs, as far as so many pages of the list of jobs with this tag show them.

        Returns:
            The status of each job that was seen, by its name; and how many pages were asked for.
        """
        ...

    async def cancel(self, name: str) -> None:
        """Ask for a job to be canceled."""
        ...
