"""What is asked of a scoring, checked as far as it can be before Prefect, the registry and a model are there."""

import re
from pathlib import Path

from flows.data.assets import ResolvedData, is_path, resolve_data
from flows.errors import SettingsError
from flows.scoring.output import check_output
from flows.scoring.parameters import ScoreParameters
from flows.scoring.tables import open_tables
from flows.serving.endpoints import ServedModel
from flows.settings import Settings
from flows.spec.model.batch import BatchDeploymentSpec, BatchEndpointSpec
from flows.spec.reading.batch import read_batch_deployment, read_batch_endpoint


def check_asked(parameters: ScoreParameters, settings: Settings) -> None:
    """See that the definitions are right, that a file can be read, and that the output can be written.

    Raises:
        DataAssetError: The input is a file or folder that cannot be read.
        ParameterError: The output is no such file, or is the input.
        SettingsError: There is no definition, or the output cannot be written.
        SpecError: A definition is wrong.
    """
    definitions_of(parameters, settings)
    source = None
    if is_path(parameters.data_asset_name):
        source = resolve_data(parameters.data_asset_name, settings.data_assets).path
        assert source is not None  # a file of this machine has a path
        open_tables(source, parameters.data_asset_name)
    if "{" not in parameters.output:  # else its name is known when the data and the model are
        check_output(settings.project / parameters.output, source)


def definitions_of(parameters: ScoreParameters, settings: Settings) -> tuple[BatchEndpointSpec, BatchDeploymentSpec]:
    """The endpoint and the deployment, which has a scoring script.

    Raises:
        SettingsError: There is no file, or no scoring script in it.
        SpecError: A file is wrong.
    """
    endpoint = read_batch_endpoint(_file(settings, parameters.endpoint, "batch endpoint"))
    deployment = read_batch_deployment(_file(settings, parameters.deployment, "batch deployment"))
    if deployment.code is None:
        raise SettingsError(f"{deployment.source} names no scoring script: add code_configuration. Nothing was scored.")
    return endpoint, deployment


def output_of(parameters: ScoreParameters, settings: Settings, data: ResolvedData, model: ServedModel) -> Path:
    """The file of the scores, with the names of the data and of the model in it."""
    output, label = parameters.output, Path(data.label).stem if is_path(data.label) else data.label
    for name, text in (("{data}", label), ("{model}", model.label)):
        output = output.replace(name, re.sub(r"[^\w.-]+", "-", text))
    return settings.project / output


def _file(settings: Settings, name: str, what: str) -> Path:
    file = settings.project / name
    if not file.is_file():
        raise SettingsError(f"There is no definition of the {what}: {file} is missing. Nothing was scored.")
    return file
