"""Reader of batch endpoints and batch deployments, from the YAML that ``az ml`` creates them from."""

from pathlib import Path
from types import MappingProxyType

from flows.spec.model.batch import BatchDeploymentSpec, BatchEndpointSpec, PipelineDeploymentSpec
from flows.spec.reading.assembly import texts
from flows.spec.reading.endpoints import code_and_script, model_of, name_of, read_file
from flows.spec.reading.work.component import environment_variables
from flows.spec.reading.work.environments import environment_from
from flows.spec.text import served_keys
from flows.spec.text.locations import beside, is_file, is_remote, local
from flows.spec.text.names import unfit
from flows.spec.text.section import Section
from flows.spec.text.shape import of_shape

# What a deployment has below ``settings`` if it is of type model or has settings, and else at the top.
SETTINGS = frozenset(served_keys.BATCH_SETTINGS) - {"environment_variables", "instance_count"}
_LEVELS = frozenset({"debug", "info", "warning"})


def read_batch_endpoint(path: Path) -> BatchEndpointSpec:
    """Read a batch endpoint.

    Raises:
        SpecError: The file is not what it should be; every fault is named.
    """
    return read_file(path, endpoint_of)


def read_batch_deployment(path: Path) -> BatchDeploymentSpec:
    """Read a batch deployment of a model that leaves scores, in either form: with ``settings``, or all at the top.

    Raises:
        SpecError: The file is not what it should be; every fault is named.
    """
    return read_file(path, _that_scores)


def endpoint_of(section: Section) -> BatchEndpointSpec | None:
    """A batch endpoint; None where a fault was noted without which there would be one."""
    section = of_shape(section, served_keys.BATCH_ENDPOINT, "a batch endpoint")
    name = name_of(section, "name", "endpoint")
    mode = section.choice("auth_mode", frozenset({"aad_token", "aadtoken", "key", "aml_token", "amltoken"}), "mode")
    if mode not in (None, "aad_token", "aadtoken"):
        remedy = "Write aad_token, or leave it out: whoever calls signs in with Microsoft Entra ID."
        section.fault("auth_mode", f"a batch endpoint does not know the mode {mode}", remedy)
    return (
        None
        if name is None
        else BatchEndpointSpec(
            name=name,
            source=local(section.file.name, section.folder),
            tags=MappingProxyType(texts(section.section("tags"))),
            description=section.text("description") or "",
            place=section.place("name"),
        )
    )


def deployment_of(section: Section) -> BatchDeploymentSpec | PipelineDeploymentSpec | None:
    """A batch deployment of a model or a pipeline; None where a fault was noted without which there would be one."""
    kind = section.choice("type", frozenset({"model", "pipeline"}), "type")
    if kind == "pipeline" or (kind is None and {"component", "job_definition"} & section.entries.keys()):
        return _of_a_pipeline(section)
    return _of_a_model(section, kind == "model" or "settings" in section)


def _that_scores(section: Section) -> BatchDeploymentSpec | None:
    found = deployment_of(section)
    if isinstance(found, PipelineDeploymentSpec):
        section.fault("type", "this deploys a pipeline, which Tandem does not", "Run it instead: tandem run FILE.yml")
        return None
    if found is not None and found.output_action == "summary_only":
        settings = section.section("settings") if "settings" in section else section
        settings.fault("output_action", "summary_only leaves no scores", "Write append_row, or leave it out.")
    return found


def _of_a_pipeline(section: Section) -> PipelineDeploymentSpec | None:
    section = of_shape(section, served_keys.PIPELINE_BATCH_DEPLOYMENT, "a batch deployment of a pipeline")
    name, endpoint = name_of(section, "name", "deployment"), name_of(section, "endpoint_name", "endpoint")
    component = section.text("component") if "component" in section else None
    if "component" not in section and "job_definition" not in section:
        section.missing("component", "the deployment has no component", "Add component: with that of a pipeline.")
    elif component is not None and not is_remote(component) and not is_file(beside(component, section.folder)):
        remedy = "A path is relative to the file that names it; a registered one is azureml:name:version."
        section.fault("component", f"there is no file {component}", remedy)
    source = local(section.file.name, section.folder)
    if name is None or endpoint is None:
        return None
    return PipelineDeploymentSpec(name, endpoint, source, component, section.place(""))


def _of_a_model(section: Section, has_settings: bool) -> BatchDeploymentSpec | None:
    shape = served_keys.MODEL_BATCH_DEPLOYMENT if has_settings else served_keys.BATCH_DEPLOYMENT
    section = of_shape(section, shape, "a batch deployment with settings" if has_settings else "a batch deployment")
    settings = section.section("settings") if has_settings else section
    if has_settings and "settings" in section and "mini_batch_size" not in settings:
        settings.missing("mini_batch_size", "settings has no mini_batch_size", "Add it: how many files run() is given.")
    name, endpoint = name_of(section, "name", "deployment"), name_of(section, "endpoint_name", "endpoint")
    code, script = code_and_script(section)
    environment = environment_from(section)
    if code is not None and "environment" not in section:
        remedy = "Add environment: with what the script imports and azureml-core."
        section.missing("environment", "there is a script, and no environment that it runs in", remedy)
    compute = section.text("compute")
    if "compute" not in section:
        section.missing("compute", "there is no compute", "Add compute: azureml:NAME of a cluster.")
    model_of(section)
    defaults = BatchDeploymentSpec("", Path(), "")
    if has_settings and "instance_count" in settings and section.section("resources").entries:
        message = "the instance_count stands in settings, and there are resources as well"
        settings.fault("instance_count", message, "Leave one of them out.")
    instances = section.section("resources").integer("instance_count", 1) or settings.integer("instance_count", 1)
    retries = settings.section("retry_settings")
    threshold, most_retries = settings.integer("error_threshold", -1), retries.integer("max_retries", 0)
    variables = environment_variables(section) or (environment_variables(settings) if has_settings else {})
    action = settings.choice("output_action", frozenset({"append_row", "summary_only"}), "action")
    if action == "summary_only" and "output_file_name" in settings:
        message = "output_action is summary_only, and there is an output_file_name"
        settings.fault("output_file_name", message, "Leave it out: no rows are written, or write append_row.")
    return (
        None
        if name is None or endpoint is None or compute is None
        else BatchDeploymentSpec(
            name=name,
            source=local(section.file.name, section.folder),
            compute=compute.removeprefix("azureml:"),
            code=code,
            scoring_script=script,
            environment=environment,
            environment_variables=variables,
            instances=instances or defaults.instances,
            concurrency_per_instance=settings.integer("max_concurrency_per_instance", 1)
            or defaults.concurrency_per_instance,
            mini_batch_size=settings.integer("mini_batch_size", 1) or defaults.mini_batch_size,
            error_threshold=defaults.error_threshold if threshold is None else threshold,
            max_retries=defaults.max_retries if most_retries is None else most_retries,
            retry_timeout_seconds=float(retries.integer("timeout", 1) or defaults.retry_timeout_seconds),
            output_action=action or defaults.output_action,
            output_file_name=_file_name(settings) or defaults.output_file_name,
            logging_level=settings.choice("logging_level", _LEVELS, "level") or defaults.logging_level,
            tags=MappingProxyType(texts(section.section("tags"))),
            description=section.text("description") or "",
            place=section.place(""),
        )
    )


def _file_name(settings: Section) -> str | None:
    name = settings.text("output_file_name")
    if name is not None and (reason := unfit(name)):
        settings.fault("output_file_name", f"{name:.80} cannot be the name of a file: it {reason}", "Name a file.")
    return name
