"""Engine protocol: what the flows ask of the place where a job runs."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Protocol

from flows.data.assets import ResolvedData
from flows.engines.earlier import EarlierJob
from flows.engines.runs import KeptReport, PipelineRequest, RunAccount, RunOutcome, Submission, Unfinished
from flows.mlflow_store.model_registry import ModelRegistry
from flows.spec.model.job import JobSpec, StepOutput


class Engine(Protocol):
    """Runs jobs that Azure ML YAML describes. The flows know nothing else of where a job runs."""

    @property
    def name(self) -> str:
        """The name that a person chooses it by."""
        ...

    @property
    def outlives_process(self) -> bool:
        """Whether a job goes on when the process that started it has ended; else it ends with that process."""
        ...

    @property
    def registry(self) -> ModelRegistry:
        """The model registry that belongs to this engine."""
        ...

    async def resolve_data(self, text: str) -> ResolvedData:
        """Find a data asset (``name``, ``name:version``, ``name@latest``) in the version that it has now, or a file.

        Raises:
            DataAssetError: There is none.
        """
        ...

    async def data_file(self, data: ResolvedData, folder: Path) -> Path:
        """The file of the data, on this machine: where it is, or downloaded into ``folder``.

        Raises:
            DataAssetError: It cannot be brought here.
        """
        ...

    async def keep_data(self, data: ResolvedData) -> None:
        """Keep a copy of data that a champion is made of, by its content, so that it outlives its file.

        Raises:
            SettingsError: It cannot be kept.
        """
        ...

    async def kept_data(self, sha256: str) -> Path | None:
        """The copy of data with this content that :meth:`keep_data` has made; None if there is none."""
        ...

    async def submit(self, request: PipelineRequest) -> Submission:
        """Accept a job. The same request leads to the same job, however often it is submitted."""
        ...

    async def unfinished(self, submission: Submission, seconds: float) -> Unfinished | None:
        """Wait for a job at most ``seconds``, to see whether it can be left alone then.

        Returns:
            What is known of the job, which goes on though nobody waits for it; None if it is over, if it has to be
            waited for, or if it would end with this process.
        """
        ...

    async def wait(self, submission: Submission) -> RunOutcome:
        """Return when the job is over, with every step shown as a task run of the current flow run."""
        ...

    def failed_by_machine(self, outcome: RunOutcome) -> bool:
        """Whether a job failed for a reason that no user could help, such as a machine that was taken away.

        Submitted again, it may then succeed.
        """
        ...

    def can_fetch(self, outcome: RunOutcome, output: str) -> bool:
        """Whether a named output can be copied to this machine; if not, it can be registered where it is."""
        ...

    async def fetch(self, outcome: RunOutcome, output: str, folder: Path) -> Path:
        """Copy a named output of a finished job to ``folder`` and return it.

        Raises:
            RunError: The job delivered no such output.
            SettingsError: ``folder`` cannot be written.
        """
        ...

    async def bring(self, outcome: RunOutcome, folder: Path) -> RunOutcome:
        """Bring to this machine what a job has left, complete or not: its outputs, and the logs of its steps.

        What is elsewhere is downloaded into ``folder``; what is here stays where it is.

        Returns:
            The outcome, with the paths on this machine. Outputs that cannot be fetched keep their address.

        Raises:
            RunError: A job that has completed did not deliver an output.
            SettingsError: ``folder`` cannot be written.
        """
        ...

    async def identity(self, outcome: RunOutcome, output: str) -> Mapping[str, str]:
        """Tags that say what an output is; they are equal for what must not be registered twice.

        The same job, run again, delivers what is registered already: the same content, or a job of the same code,
        command, environment, variables and inputs. A run that was forced may have made something else.
        """
        ...

    async def keep_report(self, outcome: RunOutcome, report: Path, account: RunAccount) -> KeptReport:
        """Keep a report with the job: an HTML file, all that lies in the same folder, and what came of the job."""
        ...

    def earlier_jobs(self, spec: JobSpec, name: str | None = None) -> AsyncIterator[EarlierJob]:
        """The jobs that were run here from the file of a spec, the newest first; or only the one of this name, if any.

        Args:
            spec: The job, whole: its steps and outputs are looked for.
            name: The name of a job, which may have been made from another file.
        """
        ...

    async def bring_output(self, job: EarlierJob, output: StepOutput, type: str, folder: Path) -> Path:
        """The output of a step of an earlier job on this machine: where it is, or downloaded to ``folder``.

        Args:
            job: The earlier job, which this engine has found.
            output: One of its outputs.
            type: The type of the output, such as ``uri_folder``.
            folder: A path that is not there yet, which the output gets if it is elsewhere.

        Raises:
            CannotRunHere: It cannot be downloaded.
            RunError: Nothing came.
        """
        ...
