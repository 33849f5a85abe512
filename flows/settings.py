"""Settings from the environment: the folders of the project and of the local state, and the workspace."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
WORKSPACE_VARIABLES = ("AZUREML_ARM_SUBSCRIPTION", "AZUREML_ARM_RESOURCEGROUP", "AZUREML_ARM_WORKSPACE_NAME")


@dataclass(frozen=True, slots=True)
class Settings:
    """Folders of the project and of the local state; and which of the workspace's three variables are set."""

    project: Path
    home: Path
    workspace: Mapping[str, str]
    managed_identity_client_id: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read ``TANDEM_HOME`` (default: ``.tandem`` in the project) and the variables of workspace and identity."""
        values = os.environ if environment is None else environment
        home = Path(values.get("TANDEM_HOME") or PROJECT / ".tandem").expanduser().absolute()
        workspace = {name: values[name] for name in WORKSPACE_VARIABLES if values.get(name)}
        return cls(PROJECT, home, workspace, values.get("MANAGED_IDENTITY_CLIENT_ID") or None)

    @property
    def missing_workspace(self) -> tuple[str, ...]:
        """The variables of the workspace that are not set."""
        return tuple(name for name in WORKSPACE_VARIABLES if name not in self.workspace)

    @property
    def pipeline_file(self) -> Path:
        """The Azure ML YAML of the training pipeline."""
        return self.project / "aml_steps" / "train_pipeline.yml"

    @property
    def job_file(self) -> Path:
        """The Azure ML YAML of the single training job."""
        return self.project / "aml_steps" / "train_job.yml"

    @property
    def data_assets(self) -> tuple[Path, ...]:
        """The folders of the data assets, Azure ML data YAML: the project's own, and what was registered here."""
        return self.project / "data", self.registered_data / "assets"

    @property
    def registered_data(self) -> Path:
        """Data assets that were registered on this machine."""
        return self.home / "data"

    @property
    def registered_models(self) -> Path:
        """Models that jobs have delivered under a name, on this machine."""
        return self.home / "models"

    @property
    def models(self) -> tuple[Path, ...]:
        """The folders of the models that a job may read by name: Azure ML YAML, as of the data assets."""
        return (self.registered_models / "assets",)

    @property
    def web_files(self) -> Path:
        """Files that were fetched from the web."""
        return self.home / "web"

    @property
    def environments(self) -> Path:
        """The folder of the Azure ML environment definitions."""
        return self.project / "environment"

    @property
    def jobs(self) -> Path:
        """Local jobs: a folder each."""
        return self.home / "jobs"

    @property
    def begun_runs(self) -> Path:
        """Runs that have begun and not ended, which a second start resumes."""
        return self.home / "begun"

    @property
    def prefect_home(self) -> Path:
        """The Prefect database and results of local runs."""
        return self.home / "prefect"

    @property
    def mlflow_uri(self) -> str:
        """The tracking and registry store of local runs."""
        return f"sqlite:///{self.home / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> Path:
        """Artifacts of the local MLflow runs, registered models among them."""
        return self.home / "mlartifacts"
