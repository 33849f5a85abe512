"""Job requests of the two training flows, made from their parameters."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flows.data.assets import ResolvedData
from flows.engines.runs import PipelineRequest
from flows.errors import SettingsError
from flows.mlflow_store.model_registry import ModelVersion
from flows.settings import Settings
from flows.spec.bind import bind, with_compute, with_environment
from flows.spec.model.job import DataReference, JobSpec
from flows.spec.reading.reader import read_job
from flows.tags import BASIS, FLOW_RUN, job_tags
from flows.training.basis import basis_of
from flows.training.parameters import EngineParameters, JobParameters, PipelineParameters, TrainingParameters

CHAMPION_INPUT = "jobs.evaluate.inputs.champion"


def require_project(settings: Settings) -> None:
    """See that the training pipeline is where the commands that train by it, or check data by it, look for it.

    Raises:
        SettingsError: It is not, as where a wheel is installed and the working folder is no checkout of the project.
    """
    if not settings.pipeline_file.is_file():
        raise SettingsError(
            f"There is no training pipeline here: {settings.pipeline_file} is missing. Nothing was run or registered. "
            "Type the same command in a checkout of the project. `tandem run FILE.yml` runs any job, anywhere."
        )


def pipeline_request(
    parameters: PipelineParameters,
    settings: Settings,
    data: ResolvedData,
    *,
    flow_run_id: str,
    champion: ModelVersion | None,
) -> PipelineRequest:
    """The pipeline job of ``aml_steps/train_pipeline.yml`` with these parameters, evaluated against the champion."""
    champion_input = {} if champion is None else {CHAMPION_INPUT: DataReference("mlflow_model", champion.source)}
    values = {**_training_values(parameters, data), **champion_input}
    spec = replace(bind(read_job(settings.pipeline_file), values), display_name=parameters.pipeline)
    basis = basis_of(spec, data, parameters.gate, settings.environments)
    compared_with = None if champion is None else champion.version
    tags = {**job_tags(flow_run_id, data.label, compared_with), BASIS: str(basis)}
    return _request(spec, parameters, parameters.pipeline, parameters.experiment_name, tags)


def job_request(
    parameters: JobParameters, settings: Settings, data: ResolvedData, *, flow_run_id: str
) -> PipelineRequest:
    """The command job of ``aml_steps/train_job.yml`` with these parameters."""
    spec = bind(read_job(settings.job_file), _training_values(parameters, data))
    return _request(spec, parameters, spec.name, parameters.experiment_name, job_tags(flow_run_id, data.label))


def job_name(label: str, flow_run_id: str, source: Path) -> str:
    """A name for a job: the same for every try of one flow run on one YAML file, and for nothing else."""
    slug = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:40] or "job"
    digest = hashlib.sha256(f"{flow_run_id}\n{source.name}".encode()).hexdigest()
    return f"{slug}-{digest[:12]}"


def pipeline_job_name(parameters: Mapping[str, Any], settings: Settings, flow_run_id: str) -> str:
    """The name of the first job of a flow run of the pipeline flow."""
    return job_name(PipelineParameters(**parameters).pipeline, flow_run_id, settings.pipeline_file)


def single_job_name(parameters: Mapping[str, Any], settings: Settings, flow_run_id: str) -> str:
    """The name of the first job of a flow run of the job flow."""
    return job_name(read_job(settings.job_file).name, flow_run_id, settings.job_file)


def _training_values(parameters: TrainingParameters, data: ResolvedData) -> Mapping[str, object]:
    """The inputs of both YAML files: the data, and every other training parameter under its own name."""
    own = TrainingParameters.model_fields.keys() - EngineParameters.model_fields.keys() - {"data_asset_name"}
    return {"data": data.reference, **parameters.model_dump(include=own)}


def _request(
    spec: JobSpec, parameters: TrainingParameters, label: str, experiment_name: str, tags: Mapping[str, str]
) -> PipelineRequest:
    spec = with_environment(with_compute(spec, parameters.compute_name), parameters.environment_name)
    return PipelineRequest(
        spec=spec,
        job_name=job_name(label, tags[FLOW_RUN], spec.source),
        experiment_name=experiment_name,
        tags=tags,
        force_rerun=parameters.force_rerun,
    )
