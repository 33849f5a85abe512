"""Reader of online endpoints and online deployments, from the YAML that ``az ml`` creates them from."""

import ast
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from flows.spec.model.asset_reference import AssetReference
from flows.spec.model.endpoint import (
    MAX_MIRROR_PERCENT,
    NAME_RULE,
    WHOLE_BODIES,
    Collection,
    DataCollector,
    EndpointSpec,
    OnlineDeploymentSpec,
    Probe,
    RequestSettings,
    is_endpoint_name,
)
from flows.spec.reading.assembly import texts
from flows.spec.reading.work.component import environment_variables
from flows.spec.reading.work.environments import environment_from
from flows.spec.text import served_keys
from flows.spec.text.faults import findings, raise_faults
from flows.spec.text.locations import is_file, is_remote, local
from flows.spec.text.names import shown
from flows.spec.text.section import Section
from flows.spec.text.shape import of_shape
from flows.spec.text.words import a
from flows.spec.text.yaml_lines import load_yaml

T = TypeVar("T")

MAX_INSTANCES = 50
MAX_TIMEOUT_MS = 180_000
WORKER_COUNT = "WORKER_COUNT"  # what the inference server reads: how many requests an instance works at, at once

_SIZE = re.compile(r"(Standard|Basic)_[A-Za-z0-9][\w-]*", re.IGNORECASE)
_AUTH = {
    "key": "key",
    **dict.fromkeys(("aml_token", "amltoken"), "aml_token"),
    **dict.fromkeys(("aad_token", "aadtoken"), "aad_token"),
}
_ROLLING = frozenset({"minute", "hour", "day"})


def read_file(path: Path, take: Callable[[Section], T | None]) -> T:
    """Read a file by what takes its mapping, and notes a fault where there is nothing to take.

    Raises:
        SpecError: The file is not what it should be; every fault is named.
    """
    spec = None
    with findings(path) as noted:
        node = load_yaml(path, noted)
        spec = None if node is None else take(Section(node, noted))
    raise_faults(noted)
    assert spec is not None  # a fault is noted for every None
    return spec


def read_endpoint(path: Path) -> EndpointSpec:
    """Read a managed online endpoint. The traffic in the file is checked and not returned: a rollout sets it.

    Raises:
        SpecError: The file is not what it should be; every fault is named.
    """
    return read_file(path, endpoint_of)


def read_online_deployment(path: Path) -> OnlineDeploymentSpec:
    """Read a managed online deployment.

    Raises:
        SpecError: The file is not what it should be; every fault is named.
    """
    return read_file(path, deployment_of)


def endpoint_of(section: Section) -> EndpointSpec | None:
    """A managed online endpoint; None where a fault was noted without which there would be one."""
    if "compute" in section:
        section.fault("compute", "this is a Kubernetes endpoint, which Tandem does not deploy", "Leave compute out.")
        return None
    section = of_shape(section, served_keys.ONLINE_ENDPOINT, "an online endpoint")
    name, mode = name_of(section, "name", "endpoint"), section.choice("auth_mode", frozenset(_AUTH), "mode")
    _check_shares(section)
    identities = section.section("identity").items("user_assigned_identities")
    if len(identities) > 1:
        section.fault("identity", f"the endpoint has {len(identities)} identities", "Azure ML takes one.")
    return (
        None
        if name is None
        else EndpointSpec(
            name=name,
            source=local(section.file.name, section.folder),
            auth_mode=_AUTH[mode or "key"],
            tags=MappingProxyType(texts(section.section("tags"))),
            description=section.text("description") or "",
            public_network_access=section.choice("public_network_access", frozenset({"enabled", "disabled"}), "choice"),
            place=section.place("name"),
        )
    )


def deployment_of(section: Section) -> OnlineDeploymentSpec | None:
    """A managed online deployment; None where a fault was noted without which there would be one."""
    kind = section.choice("type", frozenset({"managed", "kubernetes"}), "type")
    if kind == "kubernetes":
        section.fault("type", "this is a Kubernetes deployment, which Tandem does not make", "Leave type out.")
        return None
    section = of_shape(section, served_keys.ONLINE_DEPLOYMENT, "an online deployment")
    name = name_of(section, "name", "deployment")
    endpoint = name_of(section, "endpoint_name", "endpoint")
    code, script = code_and_script(section)
    variables = environment_variables(section)
    requests = _requests(section.section("request_settings"))
    _check_workers(section, variables, requests)
    _check_scale(section.section("scale_settings"))
    collector = _collector(section)
    environment = environment_from(section)
    if code is not None and "environment" not in section:
        remedy = "Add environment: with what the script imports and azureml-inference-server-http."
        section.missing("environment", "there is a script, and no environment that it runs in", remedy)
    instances = section.integer("instance_count", 1)
    if instances is not None and instances > MAX_INSTANCES:
        section.fault("instance_count", f"instance_count is {instances}", f"Azure ML takes {MAX_INSTANCES} at most.")
    size, model = _size(section), model_of(section)
    return (
        None
        if name is None or endpoint is None
        else OnlineDeploymentSpec(
            name=name,
            endpoint_name=endpoint,
            source=local(section.file.name, section.folder),
            model=model,
            code=code,
            scoring_script=script,
            environment=environment,
            environment_variables=variables,
            instance_type=size or "",
            instances=instances or 1,
            requests=requests,
            liveness=_probe(section.section("liveness_probe")),
            readiness=_probe(section.section("readiness_probe")),
            data_collector=collector,
            tags=MappingProxyType(texts(section.section("tags"))),
            description=section.text("description") or "",
            place=section.place(""),
        )
    )


def name_of(section: Section, key: str, noun: str) -> str | None:
    """The name of an endpoint or a deployment; what is wrong with it is noted."""
    if key not in section:
        section.missing(key, f"the {noun} has no name" if key == "name" else f"there is no {key}", f"Add {key}:.")
        return None
    name = section.text(key)
    if name is not None and not is_endpoint_name(name):
        section.fault(key, f"{shown(name)!r} cannot be the name of {a(noun)}", f"Use {NAME_RULE}.")
    return name


def _check_shares(section: Section) -> None:
    live, mirror = _shares(section.section("traffic")), _shares(section.section("mirror_traffic"))
    if sum(live.values()) not in (0, 100):
        section.fault("traffic", f"the shares sum to {sum(live.values())}", "Make them sum to 100, or to 0.")
    if len(mirror) > 1:
        section.fault("mirror_traffic", f"{len(mirror)} deployments get a copy of requests", "Azure ML takes one.")
    for name, share in mirror.items():
        if share > MAX_MIRROR_PERCENT:
            section.fault("mirror_traffic", f"{name} gets {share} % of the requests", "Make it 50 or less.")
        if live.get(name):
            section.fault("mirror_traffic", f"{name} has live traffic too", "Mirror to a deployment without traffic.")


def _shares(section: Section) -> dict[str, int]:
    found = {name: section.integer(name, 0) for name in section.entries}
    for name, share in found.items():
        if share is not None and share > 100:
            section.fault(name, f"the share of {name} is {share} %", "Make it 100 or less.")
    return {name: share for name, share in found.items() if share is not None}


def code_and_script(section: Section) -> tuple[Path | None, str | None]:
    """The folder of the script, and the script in it, which has to define ``init`` and ``run``."""
    given = section.section("code_configuration")
    code, script = given.path("code"), given.text("scoring_script")
    if "code" in given and "scoring_script" not in given:
        given.missing("scoring_script", "there is a folder of code, and no script", "Add scoring_script:.")
    if script is not None and "code" not in given:
        given.missing("code", "there is a script, and no folder of it", "Add code:.")
    if code is None or script is None:
        return code, script
    file = local(script, code)
    if not file.is_relative_to(code):
        given.fault("scoring_script", f"{script} is outside of the code {code}", "Name a file in that folder.")
    elif not is_file(file):
        given.fault("scoring_script", f"there is no file {script}", f"It is looked for at {file}.")
    else:
        _check_script(given, script, file)
    return code, script


def _check_script(section: Section, script: str, file: Path) -> None:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else f": {error}"
        section.fault("scoring_script", f"{script} is not Python{line}", "Correct the script.")
        return
    defined = {name for node in tree.body for name in _names(node)}
    missing = [f"{name}()" for name in ("init", "run") if name not in defined and "*" not in defined]
    if missing:
        remedy = "Azure ML's server calls init() once, and run() for each request."
        section.fault("scoring_script", f"{script} does not define {' and '.join(missing)}", remedy)


def _names(node: ast.stmt) -> list[str]:
    """What a statement at the top of a module may give a name to."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    return [each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)] + [
        each.name for each in ast.walk(node) if isinstance(each, ast.FunctionDef)
    ]


def _requests(section: Section) -> RequestSettings:
    timeout, wait = section.integer("request_timeout_ms", 1), section.integer("max_queue_wait_ms", 0)
    at_once = section.integer("max_concurrent_requests_per_instance", 1)
    if timeout is not None and timeout > MAX_TIMEOUT_MS:
        remedy = f"Azure ML takes {MAX_TIMEOUT_MS} at most. What takes longer is a batch endpoint's."
        section.fault("request_timeout_ms", f"request_timeout_ms is {timeout}", remedy)
    default = RequestSettings()
    return RequestSettings(
        default.timeout_seconds if timeout is None else timeout / 1000,
        at_once or default.concurrent_requests_per_instance,
        default.queue_wait_seconds if wait is None else wait / 1000,
    )


def _probe(section: Section) -> Probe:
    default = Probe()
    delay, period = section.integer("initial_delay", 0), section.integer("period", 1)
    timeout = section.integer("timeout", 1)
    successes, failures = section.integer("success_threshold", 1), section.integer("failure_threshold", 1)
    return Probe(
        default.initial_delay_seconds if delay is None else float(delay),
        float(period or default.period_seconds),
        float(timeout or default.timeout_seconds),
        successes or default.successes,
        failures or default.failures,
    )


def _check_workers(section: Section, variables: Mapping[str, str], requests: RequestSettings) -> None:
    at_once, workers = requests.concurrent_requests_per_instance, variables.get(WORKER_COUNT, "1")
    if at_once > 1 and workers != str(at_once):
        message = f"an instance gets {at_once} requests at once, and its server has {workers} to work at them"
        remedy = f'Set environment_variables.{WORKER_COUNT} to "{at_once}".'
        section.section("request_settings").warn("max_concurrent_requests_per_instance", message, remedy)


def _check_scale(section: Section) -> None:
    if not section.entries:
        return
    kind = section.choice("type", frozenset({"default", "target_utilization"}), "type")
    if "type" not in section:
        section.missing("type", "scale_settings has no type", "Write type: default.")
    if kind == "target_utilization":
        remedy = "Write type: default; autoscaling of a managed deployment is a setting of Azure Monitor."
        section.fault("type", "a managed deployment does not scale by target_utilization", remedy)
        return
    for key in section.entries.keys() - {"type"}:
        section.fault(key, f"scale_settings of type default cannot have the key {key}", "Set instance_count instead.")


def _collector(deployment: Section) -> DataCollector | None:
    """What is to be collected; None where no collection is enabled."""
    section = deployment.section("data_collector")
    if "data_collector" in deployment and "collections" not in section:
        section.missing("collections", "data_collector collects nothing", "Add collections:, or leave it out.")
    rate = section.number("sampling_rate")
    if rate is not None and not 0 <= rate <= 1:
        section.fault("sampling_rate", f"sampling_rate is {rate}", "Make it a number from 0 to 1.")
    rolling = section.choice("rolling_rate", _ROLLING, "rate")
    headers = section.section("request_logging").texts("capture_headers")
    found = [_collection(name, inner) for name, inner in section.section("collections").sections()]
    enabled = tuple(collection for collection in found if collection is not None)
    for whole in sorted({each.name for each in enabled} & WHOLE_BODIES):
        message = f"{whole} keeps whole bodies, with all that a client sends, on Azure ML, and nothing on this machine"
        section.section("collections").warn(whole, message, "Collect model_inputs and model_outputs instead.")
    default = DataCollector(enabled)
    return (
        DataCollector(
            enabled,
            default.sampling_rate if rate is None else rate,
            rolling or default.rolling_rate,
            headers,
        )
        if enabled
        else None
    )


def _collection(name: str, section: Section) -> Collection | None:
    """A collection; None where it is not enabled."""
    section = of_shape(section, served_keys.COLLECTION, "a collection")
    if "enabled" not in section:
        section.missing("enabled", f"the collection {name} does not say whether it is enabled", "Add enabled: 'True'.")
    enabled = section.choice("enabled", frozenset({"true", "false"}), "text")  # the client takes it in quotes only
    data = of_shape(section.section("data"), served_keys.COLLECTED_DATA, "the data asset of a collection")
    collection = Collection(
        name.lower(),
        data.label("name"),
        data.label("version") or "1",
        data.text("path"),
        section.text("client_id"),
    )
    return collection if enabled == "true" else None


def _size(section: Section) -> str | None:
    size = section.text("instance_type")
    if "instance_type" not in section:
        section.missing("instance_type", "there is no instance_type", "Add instance_type:, such as Standard_DS3_v2.")
    elif size is not None and not _SIZE.fullmatch(size):
        remedy = "Write it as Azure does, such as Standard_DS3_v2."
        section.fault("instance_type", f"{shown(size)} is not the size of a machine", remedy)
    return size


def model_of(section: Section) -> str | None:
    """The model as the file names it; a path is made absolute."""
    node = section.entries.get("model")
    if node is None:
        return None
    if isinstance(node.value, Mapping):
        inner = of_shape(section.section("model"), served_keys.MODEL_IN_PLACE, "a model")
        text, path = inner.text("path"), inner.path("path")
        if "path" not in inner:
            inner.missing("path", "the model has no path", "Add path: with its folder, or name a registered model.")
        return text if path is None else str(path)
    text = section.text("model")
    if text is None or text.startswith("/subscriptions/"):
        return text
    asked = AssetReference.read(text) if is_remote(text) else None
    if asked is None:
        remedy = f"Write azureml:{shown(text)}:1 for a registered model, or model: with path: for files."
        section.fault("model", f"{shown(text)} is not a registered model", remedy if ":" not in text else "")
    elif asked.label not in (None, "latest"):
        remedy = "Write a version, or @latest; `tandem deploy` takes the champion whatever stands here."
        section.fault("model", f"{asked.label} is no label that Azure ML knows for a model", remedy)
    return text
