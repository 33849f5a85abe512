"""Settings from the environment: the folders of the project and of the local state, the workspace, MLflow's servers."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

# The folder that this package is imported from: a checkout of the project, or where a wheel was installed.
PROJECT = Path(__file__).resolve().parents[1]
PIPELINE = Path("aml_steps") / "train_pipeline.yml"
TRAINED_MODEL = "diabetes-predict"  # the model that the training pipeline registers, unless another is named
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
        """Read ``TANDEM_HOME`` and what else is set.

        In a checkout the project is the checkout, and the state is in its ``.tandem``. Where a wheel was installed, the
        project is the working folder, and the state is its user's: ``$XDG_STATE_HOME/tandem``, by default
        ``~/.local/state/tandem``.
        """
        values = os.environ if environment is None else environment
        project = PROJECT if in_checkout() else Path.cwd()
        state = PROJECT / ".tandem" if in_checkout() else _state_of_user(values)
        home = Path(values.get("TANDEM_HOME") or state).expanduser().absolute()
        workspace = {name: values[name] for name in WORKSPACE_VARIABLES if values.get(name)}
        own = values.get(OWN_TRACKING)
        mlflow = {name: values[name] for name in MLFLOW_VARIABLES if values.get(name) and values[name] != own}
        return cls(project, home, workspace, values.get("MANAGED_IDENTITY_CLIENT_ID") or None, mlflow)

    @property
    def missing_workspace(self) -> tuple[str, ...]:
        """The variables of the workspace that are not set."""
        return tuple(name for name in WORKSPACE_VARIABLES if name not in self.workspace)

    @property
    def pipeline_file(self) -> Path:
        """The Azure ML YAML of the training pipeline."""
        return self.project / PIPELINE

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


def in_checkout() -> bool:
    """Whether this package is imported from a checkout of the project, with the Makefile and the pipeline in it."""
    return (PROJECT / PIPELINE).is_file()


def make_command(target: str, otherwise: str) -> str:
    """What a person types here for a target of the Makefile: ``otherwise``, where there is no Makefile."""
    if not in_checkout():
        return otherwise
    return f"make {target}" if Path.cwd() == PROJECT else f"make -C {shlex.quote(str(PROJECT))} {target}"


def training_command() -> str:
    """What a person types here to train by the pipeline, without its flags."""
    script = Path("flows") / "create_aml_pipeline_train.py"
    return f"python {script if Path.cwd() == PROJECT else shlex.quote(str(PROJECT / script))}"


def _state_of_user(environment: Mapping[str, str]) -> Path:
    folder = Path(environment.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"))
    return folder / "tandem" if folder.is_absolute() else Path.cwd() / ".tandem"  # a user may have no home
