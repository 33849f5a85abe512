"""From a YAML file and ``--set`` to the job that is asked for."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from flows.errors import ParameterError
from flows.parameters import EngineName
from flows.runs import PipelineRequest
from flows.settings import Settings
from flows.spec.bind import bind
from flows.spec.reader import read_job
from flows.tags import FLOW_RUN
from flows.training import job_name


class FileParameters(BaseModel):
    """What ``tandem run`` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(description="Azure ML job or pipeline YAML.")
    inputs: dict[str, str] = Field(default_factory=dict, description="New values of its inputs, by name.")
    output_dir: str | None = Field(None, description="Folder that the outputs are copied to.")
    engine: EngineName = Field("auto", description="Where it runs.")
    force_rerun: bool = Field(False, description="Run every step, even if nothing it depends on has changed.")


def file_request(parameters: FileParameters, settings: Settings, *, flow_run_id: str) -> PipelineRequest:
    """The job of a YAML file with these inputs."""
    spec = bind(read_job(Path(parameters.file).absolute()), dict(parameters.inputs))
    return PipelineRequest(
        spec=spec,
        job_name=job_name(spec.display_name or spec.name, flow_run_id, spec.source),
        experiment_name=spec.experiment_name or spec.source.parent.name,
        tags={FLOW_RUN: flow_run_id},
        force_rerun=parameters.force_rerun,
    )


def settings_of(pairs: list[str]) -> dict[str, str]:
    """Parse ``NAME=VALUE`` pairs.

    Raises:
        ParameterError: One has no ``=``.
    """
    for pair in pairs:
        if "=" not in pair:
            raise ParameterError(f"--set {pair}: write --set inputs.NAME=VALUE.")
    return dict(pair.split("=", 1) for pair in pairs)
