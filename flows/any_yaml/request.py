"""The job that ``tandem run`` asks for, made from a YAML file, ``--set`` and ``--asset``."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from flows.any_yaml.bound import bound_job
from flows.any_yaml.local_data import with_local_data
from flows.any_yaml.selection.graph import cut_pipelines, selected
from flows.any_yaml.selection.part import Part, PartAsked, successor_name
from flows.data.given import given_assets
from flows.engines.open_engine import chosen_engine
from flows.engines.plan.definition import file_label
from flows.engines.plan.interpreter import python_named
from flows.engines.plan.output_places import OutputFolders, check_output_places
from flows.engines.runs import PipelineRequest
from flows.errors import CannotRunHere
from flows.settings import Settings
from flows.spec.model.job import DataReference, JobSpec
from flows.spec.rules.lint import only_for_azure_ml
from flows.spec.text.faults import raise_faults
from flows.tags import FILE, FLOW_RUN
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
    only: str | None = Field(None, description="Run this step alone, with what an earlier job has delivered.")
    from_step: str | None = Field(None, description="Run this step and what reads from it, likewise.")
    job: str | None = Field(None, description="The earlier job; the newest that has what is needed if left out.")
    resume: str | None = Field(None, description="Run what this job, which has failed, has not finished.")

    @property
    def part(self) -> PartAsked:
        """Which steps of the job are asked for."""
        return PartAsked(self.only, self.from_step, self.job, self.resume)


def whole_job(parameters: FileParameters) -> JobSpec:
    """The job of a YAML file with these inputs, with all of its steps.

    Raises:
        SpecError: The file is wrong.
        ParameterError: A value is wrong.
    """
    components = given_assets(parameters.assets, Path(parameters.file)).components
    return bound_job(parameters.file, parameters.inputs, components)


def anywhere(parameters: FileParameters, whole: JobSpec) -> FileParameters:
    """The parameters with absolute paths: they mean the same in whichever folder the command is typed again.

    Args:
        parameters: What is asked for in this folder.
        whole: The job that they make, with all of its steps.
    """
    bound = {f"inputs.{name}": given.value for name, given in whole.inputs.items()}
    bound |= {
        f"jobs.{step.name}.inputs.{name}": it for step in whole.steps.values() for name, it in step.inputs.items()
    }

    def value(key: str, text: str) -> str:
        found = bound.get(key, bound.get(f"inputs.{key}"))
        return found.path if isinstance(found, DataReference) else text

    assets = given_assets(parameters.assets, Path(parameters.file)).paths
    return parameters.model_copy(
        update={
            "file": str(whole.source),
            "inputs": {key: value(key, text) for key, text in parameters.inputs.items()},
            "assets": tuple(f"{name}={path}" for name, path in assets.items()),
            "output_dir": None if parameters.output_dir is None else os.path.abspath(parameters.output_dir),
            "allow_output": tuple(map(os.path.abspath, parameters.allow_output)),
            "python": None if parameters.python is None else str(python_named(parameters.python)),
        }
    )


def file_request(
    parameters: FileParameters, settings: Settings, *, flow_run_id: str, part: Part | None = None
) -> PipelineRequest:
    """The job of a YAML file with these inputs; for the local engine, with all of its data on this machine.

    Args:
        parameters: What is asked for.
        settings: Where things are.
        flow_run_id: The id that the job is named by.
        part: The steps that are to be run, where these are not all.

    Raises:
        SpecError: The file is wrong, or lacks what only Azure ML needs and is to run there.
        ParameterError: A value is wrong.
        CannotRunHere: The local engine cannot run it, does not have its data, or may not write an output to its place.
    """
    assets = given_assets(parameters.assets, Path(parameters.file))
    whole = bound_job(parameters.file, parameters.inputs, assets.components)
    spec = whole if part is None else selected(whole, part.chosen, part.delivered)
    if chosen_engine(parameters.engine, settings, parameters.tracking).kind.runs_here:
        check_output_places(spec, output_folders(parameters, settings))
        spec = with_local_data(spec, assets, settings)
    else:
        _check_whole_pipelines(spec, whole)
        raise_faults(replace(needed, warning=False) for needed in only_for_azure_ml(spec))
    return PipelineRequest(
        spec=spec,
        job_name=_name(parameters, whole, flow_run_id),
        experiment_name=spec.experiment_name or spec.source.parent.name,
        tags={FLOW_RUN: flow_run_id, FILE: file_label(spec.source), **({} if part is None else part.tags)},
        force_rerun=parameters.force_rerun,
        python=None if parameters.python is None else python_named(parameters.python),
    )


def file_job_name(parameters: Mapping[str, Any], settings: Settings, flow_run_id: str) -> str:
    """The name of the first job of a flow run of the flow behind ``tandem run``."""
    asked = FileParameters(**parameters)
    return _name(asked, whole_job(asked), flow_run_id)


def output_folders(parameters: FileParameters, settings: Settings) -> OutputFolders:
    """Where the outputs of the job may be written on this machine."""
    return OutputFolders.of(Path(parameters.file), settings.home, parameters.output_dir, parameters.allow_output)


def _name(parameters: FileParameters, spec: JobSpec, flow_run_id: str) -> str:
    if parameters.resume is not None:
        return successor_name(parameters.resume)
    return job_name(spec.display_name or spec.name, flow_run_id, spec.source)


def _check_whole_pipelines(spec: JobSpec, whole: JobSpec) -> None:
    """See that a job for Azure ML takes each nested pipeline as it is: it is submitted as one node."""
    if cut := cut_pipelines(spec, whole):
        raise CannotRunHere(
            f"On Azure ML, the nested pipeline {cut[0]} of {whole.source.name} runs as a whole, and reads from the "
            "steps before it in the same job. Nothing was submitted. Run its steps with --engine local, or run all: "
            f"tandem run {whole.source}"
        )
