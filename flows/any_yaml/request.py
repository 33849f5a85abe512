"""The job that ``tandem run`` asks for, made from a YAML file, ``--set`` and ``--asset``."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from flows.any_yaml.bound import bound_job
from flows.any_yaml.local_data import with_local_data
from flows.data.given import given_assets
from flows.engines.open_engine import chosen_engine
from flows.engines.plan.interpreter import python_named
from flows.engines.plan.output_places import OutputFolders, check_output_places
from flows.engines.runs import PipelineRequest
from flows.settings import Settings
from flows.spec.rules.lint import needed_by_azure_ml
from flows.spec.text.faults import raise_faults
from flows.tags import FLOW_RUN
from flows.training.parameters import EngineName, TrackingName
from flows.training.request import job_name


class FileParameters(BaseModel):
    """What ``tandem run`` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(description="Azure ML job, pipeline or component YAML.")
    inputs: dict[str, str] = Field(default_factory=dict, description="New values of its inputs, by name.")
    assets: tuple[str, ...] = Field((), description="Local engine only: NAME_OR_URI=PATH, what stands for it here.")
    output_dir: str | None = Field(None, description="Folder that the outputs are copied to.")
    allow_output: tuple[str, ...] = Field(
        (), description="Local engine only: further folders that outputs may be written to, besides the project's own."
    )
    engine: EngineName = Field("auto", description="Where it runs.")
    tracking: TrackingName = Field("local", description="Local engine only: where MLflow keeps the runs.")
    python: str | None = Field(None, description="Local engine only: the interpreter of the steps.")
    force_rerun: bool = Field(False, description="Run every step, even if nothing it depends on has changed.")


def file_request(parameters: FileParameters, settings: Settings, *, flow_run_id: str) -> PipelineRequest:
    """The job of a YAML file with these inputs; for the local engine, with all of its data on this machine.

    Raises:
        SpecError: The file is wrong, or lacks what only Azure ML needs and is to run there.
        ParameterError: A value is wrong.
        CannotRunHere: The local engine cannot run it, does not have its data, or may not write an output to its place.
    """
    assets = given_assets(parameters.assets, Path(parameters.file))
    spec = bound_job(parameters.file, parameters.inputs, assets.components)
    if chosen_engine(parameters.engine, settings, parameters.tracking).kind.runs_here:
        check_output_places(spec, output_folders(parameters, settings))
        spec = with_local_data(spec, assets, settings)
    else:
        raise_faults(replace(needed, warning=False) for needed in needed_by_azure_ml(spec))
    return PipelineRequest(
        spec=spec,
        job_name=job_name(spec.display_name or spec.name, flow_run_id, spec.source),
        experiment_name=spec.experiment_name or spec.source.parent.name,
        tags={FLOW_RUN: flow_run_id},
        force_rerun=parameters.force_rerun,
        python=None if parameters.python is None else python_named(parameters.python),
    )


def file_job_name(parameters: Mapping[str, Any], settings: Settings, flow_run_id: str) -> str:
    """The name of the first job of a flow run of the flow behind ``tandem run``."""
    return file_request(FileParameters(**parameters), settings, flow_run_id=flow_run_id).job_name


def output_folders(parameters: FileParameters, settings: Settings) -> OutputFolders:
    """Where the outputs of the job may be written on this machine."""
    return OutputFolders.of(Path(parameters.file), settings.home, parameters.output_dir, parameters.allow_output)
