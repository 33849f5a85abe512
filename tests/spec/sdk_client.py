"""Verdicts on one YAML file: Tandem's, and that of the azure-ai-ml client, which loads and checks it.

Both see the file as one that is to be submitted or registered. The client is imported where it is first asked, since
that takes seconds.
"""

# The client has no types worth the name; whether it takes a file is all that is asked of it.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportPrivateUsage=false

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.errors import SpecError
from flows.spec.reading.assets import read_data_asset, read_environment
from flows.spec.reading.reader import examine
from flows.spec.reading.served import examine_served
from flows.spec.rules.lint import component_name, needed_by_azure_ml

# What we refuse and the client takes: why, and what our fault says.
REFUSED_HERE: Mapping[str, str] = {
    "the service refuses what is bound to or names nothing": (
        r"which is not declared|has no (input|output|step|command) |which is not searched|does not name one of"
        r"|\$\{\{parent\.\w+\.[^}]*\}\} names nothing"
    ),
    "the service refuses a value that does not fit": (
        r"for the \w+ input|is (below|above) the (minimum|maximum)|data is given to|is given to the"
        r"|the default \S+ is not one of|the default (True|False) is not of type integer"
        r"|input_data names the (string|number|integer|boolean) "
    ),
    "the service fills in no optional input that stands outside of $[[ ]]": r"uses the optional input \S+ outside of",
    "the service searches nothing without a search space": r"there is no search_space",
    "the client takes it, and fails when it sends the component of the step": (
        r"cannot send a component with the key intellectual_property"
    ),
    "the service refuses a number that is out of range": r"Make it -?\d+ or more|is above max_value",
    "the service refuses a pipeline, a step, a choice or an environment of nothing, or of both": (
        r"the pipeline has no steps|has neither component nor command|there is nothing to choose from|has no values"
        r"|has both image and build|has neither image nor build"
    ),
    "the service refuses data without a path": r"the data input has no path",
    "what is built or run fails without the file": r"(dockerfile_path|entry_script): there is no file",
    "the service makes a grid of choices only": r"a grid cannot be made of",
    "a version is text or a number": r"version is (a list|a mapping|true or false)",
    "what the service shows is never empty": r"is empty\s+Leave it out\.",
    "no process can have such a variable": r"the variable \S+ is (a list|a mapping)|environment_variables is ",
    "a parallel step cannot run without it": r"there is no (input_data|entry_script|task)",
    "a conda file is a file, or a mapping": r"conda_file is ",
    "no output of a job is meant by such a text": r"is not an output of the job",
    "a name becomes that of a file, a folder or a parameter": (
        r"leads to another folder|cannot be the name of|cannot be a version of|cannot be called"
    ),
    "a key that is nearly a known one is meant as that, and is ignored": r"cannot have the key \S+\s+Did you mean",
    "the client cuts off the fraction of a number, without a word": r"is a number\s+Make it a whole number",
}


# The client's functions that read a file, with the class of what they return.
SERVED: Mapping[str, str] = {
    "load_online_endpoint": "OnlineEndpoint",
    "load_online_deployment": "OnlineDeployment",
    "load_batch_endpoint": "BatchEndpoint",
    "load_batch_deployment": "BatchDeployment",
    "load_model_batch_deployment": "ModelBatchDeployment",
    "load_pipeline_component_batch_deployment": "PipelineComponentBatchDeployment",
}
LOADERS: Mapping[str, str] = {
    "load_job": "Job",
    "load_component": "Component",
    "load_environment": "Environment",
    "load_data": "Data",
    **SERVED,
}


def refused_there(loader: str, path: Path) -> str:
    """What the client says against a file, as ``create_or_update`` comes to it; empty where it would submit it.

    Args:
        loader: The client's function that reads it, such as ``load_job``.
        path: The file.
    """
    from azure.ai.ml import entities
    from azure.ai.ml._utils.utils import load_yaml
    from azure.ai.ml.entities import _load_functions

    found_class: Any = getattr(entities, LOADERS[loader])
    try:
        data = load_yaml(path)
        found, _ = found_class._resolve_cls_and_type(data=data, params_override=[])
        # load_job and the like do this, and put an error into words at ten times the cost.
        entity: Any = _load_functions._load_common_raising_marshmallow_error(found, data, str(path), [])
        if loader in SERVED:
            _raise_for_served(entity, path)
            return ""
        if loader == "load_environment":
            entity.validate()
        elif hasattr(entity, "_validate"):
            checked = entity._validate()
            if not checked.passed:
                return str(checked.error_messages)
        entity = entity._to_job() if type(entity).__name__ == "Command" else entity
        entity._to_rest_object()
    except Exception as error:  # which it raises is of no matter
        return f"{type(error).__name__}: {error}"
    return ""


def _raise_for_served(entity: Any, path: Path) -> None:
    """What ``begin_create_or_update`` raises for an endpoint or a deployment before it asks the service."""
    from azure.ai.ml._utils._endpoint_utils import validate_scoring_script
    from azure.ai.ml.entities._endpoint._endpoint_helpers import validate_endpoint_or_deployment_name

    validate_endpoint_or_deployment_name(entity.name)
    code = getattr(entity, "code_configuration", None)
    if code is not None and not str(code.code).startswith("azureml:"):
        code._validate()
        entity._base_path = entity._base_path or path.parent
        validate_scoring_script(entity)
    if hasattr(entity, "_to_rest_online_endpoint"):
        entity._to_rest_online_endpoint("westeurope")
    elif hasattr(entity, "_to_rest_online_deployment"):
        entity._validate()
    elif hasattr(entity, "_to_rest_batch_endpoint"):
        entity._to_rest_batch_endpoint("westeurope")
    elif hasattr(entity, "_validate"):
        entity._validate()


def refused_here(loader: str, path: Path) -> str:
    """What Tandem says against a file that is to go to Azure ML; empty where it takes it."""
    try:
        if loader == "load_environment":
            return "" if read_environment(path) is not None else "this is no environment"
        if loader == "load_data":
            read_data_asset(path)
            return ""
    except SpecError as error:
        return str(error)
    if loader in SERVED:
        served = examine_served(path)
        findings = () if served is None else served.findings
        return "\n".join(str(fault) for fault in findings if not fault.warning)
    found = examine(path)
    if found.spec is None:
        return "\n".join(map(str, found.faults))
    needed = [*needed_by_azure_ml(found.spec), *(component_name(found.spec) if loader == "load_component" else ())]
    return "\n".join(map(str, [*found.faults, *needed]))


def reason_among(reasons: Mapping[str, str], text: str) -> str | None:
    """The first reason whose pattern occurs in a text; None where none does."""
    return next((reason for reason, pattern in reasons.items() if re.search(pattern, text)), None)
