"""Batch endpoints and deployments as frozen values: what ``az ml batch-endpoint`` and ``batch-deployment`` take."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from flows.errors import Place
from flows.spec.model.job import Environment


def _empty() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class BatchEndpointSpec:
    """A batch endpoint.

    Attributes:
        name: 3 to 32 letters, digits and hyphens, beginning with a letter.
        source: The YAML file.
        tags: As in YAML.
        description: As in YAML.
        place: Where the name is written.
    """

    name: str
    source: Path
    tags: Mapping[str, str] = field(default_factory=_empty)
    description: str = ""
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class BatchDeploymentSpec:
    """A deployment of a model to a batch endpoint.

    Attributes:
        name: 3 to 32 letters, digits and hyphens, beginning with a letter.
        source: The YAML file.
        compute: The name of the cluster that its jobs run on.
        code: The folder of the scoring script; None for an MLflow model without code.
        scoring_script: Relative to ``code``.
        environment: Of the script; None for a deployment without code.
        environment_variables: Of the script.
        instances: Nodes of a job, from 1.
        concurrency_per_instance: Processes of a node, from 1.
        mini_batch_size: Files in one call of the script, from 1.
        error_threshold: How many files may fail before the job does; -1 for all.
        max_retries: How often a mini-batch that failed is tried again, from 0.
        retry_timeout_seconds: How long one mini-batch may take.
        output_action: ``append_row``, or ``summary_only``, which leaves no rows.
        output_file_name: The file that the rows are added to.
        logging_level: ``debug``, ``info`` or ``warning``.
        tags: As in YAML.
        description: As in YAML.
        place: Where it begins in the file.
    """

    name: str
    source: Path
    compute: str
    code: Path | None = None
    scoring_script: str | None = None
    environment: Environment | None = None
    environment_variables: Mapping[str, str] = field(default_factory=_empty)
    instances: int = 1
    concurrency_per_instance: int = 1
    mini_batch_size: int = 10
    error_threshold: int = -1
    max_retries: int = 3
    retry_timeout_seconds: float = 30.0
    output_action: str = "append_row"
    output_file_name: str = "predictions.csv"
    logging_level: str = "info"
    tags: Mapping[str, str] = field(default_factory=_empty)
    description: str = ""
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class PipelineDeploymentSpec:
    """A deployment of a pipeline component to a batch endpoint.

    Attributes:
        name: 3 to 32 letters, digits and hyphens, beginning with a letter.
        endpoint_name: As in YAML.
        source: The YAML file.
        component: As in YAML; None where a job is deployed instead.
        place: Where it begins in the file.
    """

    name: str
    endpoint_name: str
    source: Path
    component: str | None = None
    place: Place | None = field(default=None, compare=False)
