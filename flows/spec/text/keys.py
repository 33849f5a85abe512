"""Tables of the keys that azure-ai-ml 1.35.2 knows, and of what may stand at each.

They are taken from its schemas (``azure/ai/ml/_schema``). What a key's reader checks itself is marked as read.

What this machine does with each key stands in :mod:`flows.engines.local.keys.table`, whose tests demand a row for
every key here. A new key gets a row there, under its path; a new shape an entry in ``KINDS`` of the module ``kinds``
beside it, under its name here; a kind of step that does not run on this machine an entry with its refusal, and no rows.
``make docs-keys`` then writes ``docs/keys.md`` anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias


class Kind(Enum):
    """What may stand at a key."""

    READ = auto()
    """Whatever the reader of the key itself takes, which says what is wrong with it."""
    SHOWN = auto()
    """What the service adds when it shows a job: anything but nothing. The client drops it from a file."""
    TEXT = auto()
    PATH = auto()
    """The path of a file or folder, or a URL; one on this machine has to be there."""
    FLAG = auto()
    WHOLE = auto()
    TEXTS = auto()
    """A list of texts."""
    TEXT_OR_TEXTS = auto()
    MAPPING = auto()
    FILLED = auto()
    """A mapping of whatever is not empty."""
    NOTES = auto()
    """A mapping of texts, each of which may be empty."""
    LABELS = auto()
    """A mapping of texts, none of which is empty."""


@dataclass(frozen=True, slots=True)
class ByType:
    """A mapping whose other keys depend on its ``type``: the shape of each type, in whichever case it is written.

    Attributes:
        noun: What it is, for a message: ``identity``.
        shapes: By type.
        other: The shape of any other type; None where the type has to be one of these.
        untyped: The shape of a mapping without a type; None where it has to have one.
    """

    noun: str
    shapes: "Mapping[str, Shape]"
    other: "Shape | None" = None
    untyped: "Shape | None" = None


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some words, in whichever case; ``noun`` is what each is, for a message."""

    noun: str
    words: frozenset[str]


@dataclass(frozen=True, slots=True)
class Open:
    """A mapping in which Azure ML ignores the keys that it does not know."""

    shape: "Shape"


@dataclass(frozen=True, slots=True)
class Each:
    """A mapping in which the person names the keys, and what stands at each of them."""

    value: ByType


Shape: TypeAlias = "Mapping[str, Value]"
Value: TypeAlias = "Kind | OneOf | ByType | Each | Open | Shape"


def _read(*names: str) -> Shape:
    return dict.fromkeys(names, Kind.READ)


_SHOWN = dict.fromkeys(("id", "status", "creation_context", "log_files"), Kind.SHOWN)
SHOWN = frozenset({*_SHOWN, "parameters", "latest_version"})
_RESOURCE: Shape = {"$schema": Kind.SHOWN, "name": Kind.TEXT, "description": Kind.TEXT}
_SERVICE: Shape = {
    "type": Kind.TEXT,
    "port": Kind.WHOLE,
    "nodes": OneOf("choice of nodes", frozenset({"all"})),
    "properties": Kind.MAPPING,
    **dict.fromkeys(("endpoint", "status", "error_message"), Kind.SHOWN),
}
SERVICES = Each(
    ByType(
        "service",
        {
            "ssh": {**_SERVICE, "ssh_public_keys": Kind.TEXT},
            "tensor_board": {**_SERVICE, "log_dir": Kind.TEXT},
            "vs_code": _SERVICE,
            "jupyter_lab": _SERVICE,
        },
        other=_SERVICE,
        untyped={**_SERVICE, "ssh_public_keys": Kind.TEXT, "log_dir": Kind.TEXT},
    )
)
_MANAGED: Shape = {
    "type": Kind.READ,
    "client_id": Kind.TEXT,
    "object_id": Kind.TEXT,
    "msi_resource_id": Kind.TEXT,
}
IDENTITY = ByType(
    "identity",
    {
        "aml_token": _read("type"),
        "managed": _MANAGED,
        "managed_identity": _MANAGED,
        "user_identity": _read("type"),
    },
)
RESOURCES: Shape = {
    "instance_count": Kind.WHOLE,
    "instance_type": Kind.TEXT,
    "properties": Kind.MAPPING,
    "locations": Kind.TEXTS,
    "shm_size": Kind.TEXT,
    "max_instance_count": Kind.WHOLE,
    "docker_args": Kind.TEXT_OR_TEXTS,
}
_PROCESSES: Shape = {"type": Kind.READ, "process_count_per_instance": Kind.WHOLE}
DISTRIBUTION = ByType(
    "distribution",
    {
        "mpi": _PROCESSES,
        "pytorch": _PROCESSES,
        "tensorflow": {"type": Kind.READ, "worker_count": Kind.WHOLE, "parameter_server_count": Kind.WHOLE},
        "ray": {
            "type": Kind.READ,
            "port": Kind.WHOLE,
            "address": Kind.TEXT,
            "include_dashboard": Kind.FLAG,
            "dashboard_port": Kind.WHOLE,
            "head_node_additional_args": Kind.TEXT,
            "worker_node_additional_args": Kind.TEXT,
        },
    },
)
QUEUE_SETTINGS: Shape = {
    "job_tier": OneOf("tier", frozenset({"null", "spot", "basic", "standard", "premium"})),
    "priority": OneOf("level", frozenset({"low", "medium", "high"})),
}
LIMITS: Shape = {"timeout": Kind.WHOLE}
SETTINGS = _read("continue_on_step_failure", "force_rerun", "default_compute", "default_datastore")
_AUTO_DELETE: Shape = {
    "condition": OneOf("condition", frozenset({"created_greater_than", "last_accessed_greater_than"})),
    "value": Kind.TEXT,
}

_JOB: Shape = {
    **_RESOURCE,
    **_SHOWN,
    "type": Kind.READ,
    "tags": Kind.NOTES,
    "properties": Kind.NOTES,
    "display_name": Kind.TEXT,
    "experiment_name": Kind.TEXT,
    "compute": Kind.TEXT,
    "identity": IDENTITY,
    "services": SERVICES,
    **_read("inputs", "outputs"),
}
_COMMAND: Shape = {
    **_read("command", "code", "environment", "environment_variables", "distribution"),
    "resources": RESOURCES,
    "queue_settings": QUEUE_SETTINGS,
}
_SWEEP: Shape = {
    **_read("trial", "search_space", "sampling_algorithm", "objective", "early_termination", "limits"),
    "resources": RESOURCES,
    "queue_settings": QUEUE_SETTINGS,
}
_PARALLEL: Shape = {
    **_read(
        "task",
        "input_data",
        "mini_batch_size",
        "mini_batch_error_threshold",
        "error_threshold",
        "logging_level",
        "max_concurrency_per_instance",
        "retry_settings",
    ),
    "partition_keys": Kind.TEXTS,
    "resources": RESOURCES,
}
_COMPONENT: Shape = {
    **_RESOURCE,
    **_SHOWN,
    "$schema": Kind.TEXT,
    "latest_version": Kind.SHOWN,
    "type": Kind.READ,
    "version": Kind.READ,
    "display_name": Kind.TEXT,
    "tags": Kind.LABELS,
    "is_deterministic": Kind.FLAG,
    "auto_delete_setting": _AUTO_DELETE,
    **_read("inputs", "outputs"),
}
_VARIABLES: Shape = {"environment_variables": Kind.LABELS}

COMMAND_JOB: Shape = {**_JOB, **_COMMAND, "limits": LIMITS, "parent_job_name": Kind.TEXT, "parameters": Kind.SHOWN}
PIPELINE_JOB: Shape = {**_JOB, **_read("settings", "jobs", "component")}
SWEEP_JOB: Shape = {**_JOB, **_SWEEP}
PARALLEL_JOB: Shape = {**_JOB, **_PARALLEL, **_VARIABLES, "parameters": Kind.SHOWN}

# A step that names a component. What the client has no rule for there is read here as in a job.
_NODE: Shape = {
    **dict.fromkeys((*_JOB, "component"), Kind.READ),
    "properties": Kind.NOTES,
    "comment": Kind.TEXT,
}
_PLACED: Shape = {"compute": Kind.TEXT, "identity": IDENTITY}
COMMAND_NODE: Shape = {
    **_NODE,
    **_PLACED,
    **_COMMAND,
    "command": Kind.TEXT,
    **_read("parent_job_name"),
    "limits": LIMITS,
    "services": SERVICES,
}
PIPELINE_NODE: Shape = {**_NODE, **_read("jobs", "settings")}
SWEEP_NODE: Shape = {**_NODE, **_SWEEP, "compute": Kind.TEXT}
PARALLEL_NODE: Shape = {**_NODE, **_PLACED, **_PARALLEL, **_VARIABLES}
# A step or file of which it cannot be told yet what it runs.
ANY_STEP: Shape = {**COMMAND_NODE, **SWEEP_NODE, **PARALLEL_NODE, **PIPELINE_NODE}
# A step that says in place what it runs.
COMMAND_STEP = COMMAND_JOB
PARALLEL_STEP = PARALLEL_JOB

COMMAND_COMPONENT: Shape = {
    **_COMPONENT,
    **_COMMAND,
    "resources": Open(RESOURCES),
    "properties": Kind.FILLED,
    "additional_includes": Kind.READ,
}
ANY_FILE: Shape = {**ANY_STEP, **COMMAND_COMPONENT}
PIPELINE_COMPONENT: Shape = {**_COMPONENT, **_read("jobs")}
PARALLEL_COMPONENT: Shape = {**_COMPONENT, **_PARALLEL, "resources": Open(RESOURCES)}

SPARK: Shape = {
    **COMMAND_NODE,
    **_read("entry", "additional_includes", "resources", "environment", "properties", "version"),
    **dict.fromkeys(("py_files", "jars", "files", "archives"), Kind.TEXTS),
    "conf": Kind.MAPPING,
    "args": Kind.TEXT,
    **_read("driver_cores", "driver_memory", "executor_cores", "executor_memory", "executor_instances"),
    **_read("dynamic_allocation_enabled", "dynamic_allocation_min_executors", "dynamic_allocation_max_executors"),
}
SPARK_RESOURCES: Shape = {
    "instance_type": OneOf("instance type", frozenset(f"standard_e{size}s_v3" for size in (4, 8, 16, 32, 64))),
    "runtime_version": Kind.READ,
}
_ELSEWHERE: Shape = {**PIPELINE_NODE, **_read("source", "is_deterministic", "version")}
DATA_TRANSFER: Shape = {**_ELSEWHERE, **_read("task", "sink", "data_copy_mode")}
IMPORT: Shape = {**_ELSEWHERE, **_read("output")}

# Steps that run no command, but say which others run. The client takes any other key.
CONTROL_NODES: Mapping[str, Shape] = {
    "if_else": _read("type", "condition", "true_block", "false_block"),
    "do_while": _read("type", "body", "condition", "mapping", "limits"),
    "parallel_for": _read("type", "body", "items", "max_concurrency", "outputs"),
}
DO_WHILE_LIMITS: Shape = {"max_iteration_count": Kind.READ}

TRIAL: Shape = {**_COMMAND, "$schema": Kind.SHOWN}
OBJECTIVE = _read("goal", "primary_metric")
SWEEP_LIMITS: Shape = dict.fromkeys(
    ("max_total_trials", "max_concurrent_trials", "timeout", "trial_timeout"), Kind.WHOLE
)
SAMPLING: Mapping[str, Shape] = {
    "random": _read("type", "seed", "rule", "logbase"),
    "grid": _read("type"),
    "bayesian": _read("type"),
}
_POLICY = _read("type", "evaluation_interval", "delay_evaluation")
EARLY_TERMINATION: Mapping[str, Shape] = {
    "bandit": {**_POLICY, **_read("slack_factor", "slack_amount")},
    "median_stopping": _POLICY,
    "truncation_selection": {**_POLICY, **_read("truncation_percentage")},
}
TASK: Shape = {
    **_read("type", "code", "entry_script", "append_row_to", "environment"),
    "program_arguments": Kind.TEXT,
    "model": Kind.TEXT,
}
RETRY_SETTINGS = _read("timeout", "max_retries")

LITERAL_PORT: Shape = {**_read("type", "optional", "default", "min", "max", "enum"), "description": Kind.TEXT}
DATA_PORT: Shape = {**_read("type", "optional", "mode", "default"), "description": Kind.TEXT}
OUTPUT_PORT: Shape = {**_read("type", "mode"), "description": Kind.TEXT}
# What a component writes as a value; the client keeps both flags, which only old versions of the service look at.
LITERAL_OUTPUT_PORT: Shape = {**OUTPUT_PORT, "is_control": Kind.FLAG, "early_available": Kind.FLAG}
DATA_VALUE: Shape = {**_read("type", "path", "mode"), "path_on_compute": Kind.PATH, "datastore": Kind.TEXT}
MODEL_VALUE: Shape = {**_read("type", "path", "mode"), "datastore": Kind.TEXT}
OUTPUT_VALUE = _read("type", "path", "mode", "name", "version")

INPUT_MODES = frozenset({"download", "ro_mount", "direct", "eval_mount", "eval_download"})
OUTPUT_MODES = frozenset({"mount", "upload", "rw_mount", "direct"})
# A component may declare any of them; ``link`` is of old.
PORT_MODES = INPUT_MODES | OUTPUT_MODES | {"link"}

DATA_ASSET: Shape = {
    **_RESOURCE,
    **dict.fromkeys(("id", "creation_context", "latest_version", "properties"), Kind.SHOWN),
    "tags": Kind.MAPPING,
    "version": Kind.READ,
    "type": Kind.READ,
    "path": Kind.READ,
    "datastore": Kind.TEXT,
    "auto_delete_setting": _AUTO_DELETE,
}
_ROUTE: Shape = {"port": Kind.WHOLE, "path": Kind.TEXT}
ENVIRONMENT: Shape = {
    **_RESOURCE,
    **dict.fromkeys(("id", "creation_context", "latest_version", "intellectual_property"), Kind.SHOWN),
    **_read("name", "version", "conda_file"),  # in place, the client does not look at name and version
    "tags": Kind.MAPPING,
    "build": {"path": Kind.PATH, "dockerfile_path": Kind.TEXT},
    "image": Kind.TEXT,
    "inference_config": dict.fromkeys(("liveness_route", "scoring_route", "readiness_route"), _ROUTE),
    "os_type": OneOf("system", frozenset({"linux", "windows"})),
    "datastore": Kind.TEXT,
    "auto_delete_setting": _AUTO_DELETE,
}

_PROBE: Shape = dict.fromkeys(
    ("initial_delay", "period", "timeout", "success_threshold", "failure_threshold"), Kind.READ
)
_ACCESS = OneOf("choice", frozenset({"enabled", "disabled"}))
_SERVED: Shape = {
    **_RESOURCE,
    **_read("name"),
    **dict.fromkeys(("id", "provisioning_state"), Kind.TEXT),
    "tags": Kind.MAPPING,
    "properties": Kind.MAPPING,
}
ONLINE_ENDPOINT: Shape = {
    **_SERVED,
    **_read("auth_mode", "traffic", "mirror_traffic"),
    **dict.fromkeys(("scoring_uri", "openapi_uri", "location"), Kind.TEXT),
    "kind": Kind.SHOWN,
    "identity": {
        "type": OneOf(
            "type", frozenset({*("system_assigned", "systemassigned", "user_assigned", "userassigned"), "none"})
        ),
        **dict.fromkeys(("principal_id", "tenant_id"), Kind.TEXT),
        "user_assigned_identities": Kind.READ,
    },
    "public_network_access": _ACCESS,
}
ONLINE_DEPLOYMENT: Shape = {
    **_SERVED,
    **_read("type", "endpoint_name", "model", "environment", "environment_variables"),
    **_read("instance_type", "instance_count"),
    "code_configuration": {"code": Kind.READ, "scoring_script": Kind.READ},
    "app_insights_enabled": Kind.FLAG,
    "scale_settings": Kind.READ,
    "request_settings": _read("request_timeout_ms", "max_concurrent_requests_per_instance", "max_queue_wait_ms"),
    "liveness_probe": _PROBE,
    "readiness_probe": _PROBE,
    "model_mount_path": Kind.TEXT,
    "data_collector": {
        "collections": Kind.MAPPING,
        "rolling_rate": OneOf("rate", frozenset({"minute", "hour", "day"})),
        "sampling_rate": Kind.READ,
        "request_logging": {"capture_headers": Kind.TEXTS},
    },
    "egress_public_network_access": _ACCESS,
    "private_network_connection": Kind.FLAG,
    "creation_context": Kind.SHOWN,
}
# A model that is described in place.
MODEL_IN_PLACE: Shape = {
    **_RESOURCE,
    "version": Kind.READ,
    "type": OneOf("type", frozenset({"custom_model", "mlflow_model", "triton_model"})),
    "path": Kind.READ,
    **dict.fromkeys(("tags", "properties", "flavors", "system_metadata", "default_deployment_template"), Kind.MAPPING),
    **dict.fromkeys(("stage", "datastore"), Kind.TEXT),
}

# A file that has one of the first declares a component; one that has one of the second, a job.
COMPONENT_ONLY = frozenset({"version", "is_deterministic", "additional_includes", "auto_delete_setting"})
JOB_ONLY = frozenset({"experiment_name", "compute", "services", "identity", "settings", "parent_job_name"})
