"""The seam between the flows and where their jobs run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from flows.model_registry import ModelRegistry
from flows.runs import PipelineRequest, RunOutcome, Submission


class Engine(Protocol):
    """Runs jobs that Azure ML YAML describes. The flows know nothing else of where a job runs."""

    @property
    def name(self) -> str:
        """``local`` or ``azureml``."""
        ...

    @property
    def registry(self) -> ModelRegistry:
        """The model registry that belongs to this engine."""
        ...

    async def submit(self, request: PipelineRequest) -> Submission:
        """Accept a job. The same request leads to the same job, however often it is submitted."""
        ...

    async def wait(self, submission: Submission) -> RunOutcome:
        """Return when the job is over, with every step shown as a task run of the current flow run."""
        ...

    async def fetch(self, outcome: RunOutcome, output: str, folder: Path) -> Path:
        """Copy a named output of a finished job to ``folder`` and return it.

        Raises:
            RunError: The job delivered no such output.
            SettingsError: ``folder`` cannot be written.
        """
        ...

    async def keep_report(self, outcome: RunOutcome, folder: Path, metrics: Mapping[str, float | None]) -> str:
        """Keep a report with the job, and the metrics that it comes to.

        Returns:
            The address of a page where a person can look at it.
        """
        ...
