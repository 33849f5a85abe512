"""Settings from the environment: the folders of the project and of the local state, the workspace, MLflow's servers."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

PROJECT = Path(__file__).resolve().parents[1]
WORKSPACE_VARIABLES = ("AZUREML_ARM_SUBSCRIPTION", "AZUREML_ARM_RESOURCEGROUP", "AZUREML_ARM_WORKSPACE_NAME")


# What the steps and servers of a run have in MLFLOW_TRACKING_URI where that is the local store, under another name. So
# a command that runs inside of a step can tell that Tandem has set it, and no person.
OWN_TRACKING = "TANDEM_OWN_TRACKING_URI"
MLFLOW_VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


@dataclass(frozen=True, slots=True)
class Settings:
    """Folders of the project and of the local state; which of the workspace's three variables are set; MLflow's too.

    ``mlflow`` has MLFLOW_TRACKING_URI and MLFLOW_REGISTRY_URI as a person has set them, which
    :func:`flows.mlflow_store.places.mlflow_place` reads.
    """

    project: Path
    home: Path
    workspace: Mapping[str, str]
    managed_identity_client_id: str | None = None
    mlflow: Mapping[str, str] = field(default_factory=lambda: MappingProxyType(dict[str, str]()), repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read ``TANDEM_HOME`` (default: ``.tandem`` in the project) and what else is set."""
        values = os.environ if environment is None else environment
        home = Path(values.get("TANDEM_HOME") or PROJECT / ".tandem").expanduser().absolute()
        workspace = {name: values[name] for name in WORKSPACE_VARIABLES if values.get(name)}
        own = values.get(OWN_TRACKING)
        mlflow = {name: values[name] for name in MLFLOW_VARIABLES if values.get(name) and values[name] != own}
        return cls(PROJECT, home, workspace, values.get("MANAGED_IDENTITY_CLIENT_ID") or None, mlflow)

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
