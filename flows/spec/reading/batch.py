"""Reader of batch endpoints and batch deployments, from the YAML that ``az ml`` creates them from."""

from pathlib import Path
from types import MappingProxyType

from flows.spec.model.batch import BatchDeploymentSpec, BatchEndpointSpec
from flows.spec.reading.assembly import texts
from flows.spec.reading.endpoints import code_and_script, model_of, name_of
from flows.spec.reading.work.component import environment_variables
from flows.spec.reading.work.environments import environment_from
from flows.spec.text import served_keys
from flows.spec.text.faults import findings, raise_faults
from flows.spec.text.locations import local
from flows.spec.text.names import unfit
from flows.spec.text.section import Section
from flows.spec.text.shape import of_shape
from flows.spec.text.yaml_lines import load_yaml

# What a deployment of type model has below ``settings``, and one without a type at the top.
SETTINGS = frozenset(served_keys.BATCH_SETTINGS) - {"environment_variables", "instance_count"}
_LEVELS = frozenset({"debug", "info", "warning"})


def read_batch_endpoint(path: Path) -> BatchEndpointSpec:
    """Read a batch endpoint.

    Raises:
        SpecError: The file is not what it should be; every fault is named.
    """
    spec = None
    with findings(path) as noted:
        node = load_yaml(path, noted)
        spec = None if node is None else endpoint_of(Section(node, noted))
    raise_faults(noted)
    assert spec is not None  # a fault is noted for every None
    return spec


def read_batch_deployment(path: Path) -> BatchDeploymentSpec:
    """Read a batch deployment of a model, in either form: of ``type: model``, or without a type.

    Raises:
        SpecError: The file is not what it should be; every fault is named.
    """
    spec = None
    with findings(path) as noted:
        node = load_yaml(path, noted)
        spec = None if node is None else deployment_of(Section(node, noted))
    raise_faults(noted)
    assert spec is not None
    return spec


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


def deployment_of(section: Section) -> BatchDeploymentSpec | None:
    """A batch deployment of a model; None where a fault was noted without which there would be one."""
    kind = section.choice("type", frozenset({"model", "pipeline"}), "type")
    if kind == "pipeline" or (kind is None and "component" in section):
        section.fault("type", "this deploys a pipeline, which Tandem does not", "Run it instead: tandem run FILE.yml")
        return None
    shape = served_keys.MODEL_BATCH_DEPLOYMENT if kind == "model" else served_keys.BATCH_DEPLOYMENT
    section = of_shape(section, shape, "a batch deployment of type model" if kind else "a batch deployment")
    settings = section.section("settings") if kind == "model" else section
    if settings is not section and settings.entries and "mini_batch_size" not in settings:
        settings.missing("mini_batch_size", "settings has no mini_batch_size", "Add it: how many files run() is given.")
    name, endpoint = name_of(section, "name", "deployment"), name_of(section, "endpoint_name", "endpoint")
    code, script = code_and_script(section)
    environment = environment_from(section)
    if code is not None and "environment" not in section:
        remedy = "Add environment: with what the script imports and azureml-core."
        section.missing("environment", "there is a script, and no environment that it runs in", remedy)
    if script is not None and "code" not in section.section("code_configuration"):
        section.section("code_configuration").missing("code", "there is a script, and no folder of it", "Add code:.")
    compute = section.text("compute")
    if "compute" not in section:
        section.missing("compute", "there is no compute", "Add compute: azureml:NAME of a cluster.")
    model_of(section)
    defaults = BatchDeploymentSpec("", Path(), "")
    instances = section.section("resources").integer("instance_count", 1) or settings.integer("instance_count", 1)
    retries = settings.section("retry_settings")
    threshold, most_retries = settings.integer("error_threshold", -1), retries.integer("max_retries", 0)
    variables = environment_variables(section) or (environment_variables(settings) if kind == "model" else {})
    action = settings.choice("output_action", frozenset({"append_row", "summary_only"}), "action")
    if action == "summary_only":
        settings.fault("output_action", "summary_only leaves no scores", "Write append_row, or leave it out.")
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
