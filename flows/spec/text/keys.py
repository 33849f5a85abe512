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


def read_keys(*names: str) -> Shape:
    """A shape of keys whose readers check them."""
    return dict.fromkeys(names, Kind.READ)


_SHOWN = dict.fromkeys(("id", "status", "creation_context", "log_files"), Kind.SHOWN)
SHOWN = frozenset({*_SHOWN, "parameters", "latest_version"})
RESOURCE: Shape = {"$schema": Kind.SHOWN, "name": Kind.TEXT, "description": Kind.TEXT}
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
        "aml_token": read_keys("type"),
        "managed": _MANAGED,
        "managed_identity": _MANAGED,
        "user_identity": read_keys("type"),
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
SETTINGS = read_keys("continue_on_step_failure", "force_rerun", "default_compute", "default_datastore")
_AUTO_DELETE: Shape = {
    "condition": OneOf("condition", frozenset({"created_greater_than", "last_accessed_greater_than"})),
    "value": Kind.TEXT,
}

_JOB: Shape = {
    **RESOURCE,
    **_SHOWN,
    "type": Kind.READ,
    "tags": Kind.NOTES,
    "properties": Kind.NOTES,
    "display_name": Kind.TEXT,
    "experiment_name": Kind.TEXT,
    "compute": Kind.TEXT,
    "identity": IDENTITY,
    "services": SERVICES,
    **read_keys("inputs", "outputs"),
}
_COMMAND: Shape = {
    **read_keys("command", "code", "environment", "environment_variables", "distribution"),
    "resources": RESOURCES,
    "queue_settings": QUEUE_SETTINGS,
}
_SWEEP: Shape = {
    **read_keys("trial", "search_space", "sampling_algorithm", "objective", "early_termination", "limits"),
    "resources": RESOURCES,
    "queue_settings": QUEUE_SETTINGS,
}
_PARALLEL: Shape = {
    **read_keys(
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
    **RESOURCE,
    **_SHOWN,
    "$schema": Kind.TEXT,
    "latest_version": Kind.SHOWN,
    "type": Kind.READ,
    "version": Kind.READ,
    "display_name": Kind.TEXT,
    "tags": Kind.LABELS,
    "is_deterministic": Kind.FLAG,
    "auto_delete_setting": _AUTO_DELETE,
    **read_keys("inputs", "outputs"),
}
_VARIABLES: Shape = {"environment_variables": Kind.LABELS}

COMMAND_JOB: Shape = {**_JOB, **_COMMAND, "limits": LIMITS, "parent_job_name": Kind.TEXT, "parameters": Kind.SHOWN}
PIPELINE_JOB: Shape = {**_JOB, **read_keys("settings", "jobs", "component")}
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
    **read_keys("parent_job_name"),
    "limits": LIMITS,
    "services": SERVICES,
}
PIPELINE_NODE: Shape = {**_NODE, **read_keys("jobs", "settings")}
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
PIPELINE_COMPONENT: Shape = {**_COMPONENT, **read_keys("jobs")}
PARALLEL_COMPONENT: Shape = {**_COMPONENT, **_PARALLEL, "resources": Open(RESOURCES)}

SPARK: Shape = {
    **COMMAND_NODE,
    **read_keys("entry", "additional_includes", "resources", "environment", "properties", "version"),
    **dict.fromkeys(("py_files", "jars", "files", "archives"), Kind.TEXTS),
    "conf": Kind.MAPPING,
    "args": Kind.TEXT,
    **read_keys("driver_cores", "driver_memory", "executor_cores", "executor_memory", "executor_instances"),
    **read_keys("dynamic_allocation_enabled", "dynamic_allocation_min_executors", "dynamic_allocation_max_executors"),
}
SPARK_RESOURCES: Shape = {
    "instance_type": OneOf("instance type", frozenset(f"standard_e{size}s_v3" for size in (4, 8, 16, 32, 64))),
    "runtime_version": Kind.READ,
}
_ELSEWHERE: Shape = {**PIPELINE_NODE, **read_keys("source", "is_deterministic", "version")}
DATA_TRANSFER: Shape = {**_ELSEWHERE, **read_keys("task", "sink", "data_copy_mode")}
TRANSFER_END = read_keys("type")  # of a component: where data comes from or goes to, and the port on the other side
IMPORT: Shape = {**_ELSEWHERE, **read_keys("output")}

# What stands in an AutoML job besides its limits depends on its task; the values are left to the service.
_AUTOML: Shape = {
    **dict.fromkeys(_JOB.keys() - {"inputs"}, Kind.READ),
    **read_keys("task", "training_data", "validation_data", "target_column_name", "primary_metric", "log_verbosity"),
    **read_keys("environment_id", "environment_variables", "resources", "queue_settings"),
}
_AUTOML_LIMITS = read_keys("max_concurrent_trials", "max_trials", "timeout_minutes")
_ON_TEXT: Shape = {
    **_AUTOML,
    **read_keys("featurization", "search_space", "sweep", "training_parameters"),
    "limits": {**_AUTOML_LIMITS, **read_keys("max_nodes", "trial_timeout_minutes")},
}
_ON_IMAGES: Shape = {
    **_AUTOML,
    **read_keys("validation_data_size", "test_data", "test_data_size", "search_space", "sweep", "training_parameters"),
    "limits": _AUTOML_LIMITS,
}
_ON_TABLES: Shape = {
    **_AUTOML,
    **read_keys("validation_data_size", "test_data", "test_data_size", "featurization", "training"),
    **read_keys("cv_split_column_names", "n_cross_validations", "weight_column_name"),
    "limits": {
        **_AUTOML_LIMITS,
        **read_keys("enable_early_termination", "exit_score", "max_cores_per_trial", "max_nodes"),
        **read_keys("trial_timeout_minutes"),
    },
}
AUTOML: Mapping[str, Shape] = {
    "classification": {**_ON_TABLES, **read_keys("positive_label")},
    "regression": _ON_TABLES,
    "forecasting": {**_ON_TABLES, **read_keys("forecasting")},
    **dict.fromkeys(("text_classification", "text_classification_multilabel", "text_ner"), _ON_TEXT),
    **dict.fromkeys(("image_classification", "image_classification_multilabel"), _ON_IMAGES),
    **dict.fromkeys(("image_object_detection", "image_instance_segmentation"), _ON_IMAGES),
}

# Steps that run no command, but say which others run. The client takes any other key.
CONTROL_NODES: Mapping[str, Shape] = {
    "if_else": read_keys("type", "condition", "true_block", "false_block"),
    "do_while": read_keys("type", "body", "condition", "mapping", "limits"),
    "parallel_for": read_keys("type", "body", "items", "max_concurrency", "outputs"),
}
DO_WHILE_LIMITS: Shape = {"max_iteration_count": Kind.READ}

TRIAL: Shape = {**_COMMAND, "$schema": Kind.SHOWN}
OBJECTIVE = read_keys("goal", "primary_metric")
SWEEP_LIMITS: Shape = dict.fromkeys(
    ("max_total_trials", "max_concurrent_trials", "timeout", "trial_timeout"), Kind.WHOLE
)
SAMPLING: Mapping[str, Shape] = {
    "random": read_keys("type", "seed", "rule", "logbase"),
    "grid": read_keys("type"),
    "bayesian": read_keys("type"),
}
_POLICY = read_keys("type", "evaluation_interval", "delay_evaluation")
EARLY_TERMINATION: Mapping[str, Shape] = {
    "bandit": {**_POLICY, **read_keys("slack_factor", "slack_amount")},
    "median_stopping": _POLICY,
    "truncation_selection": {**_POLICY, **read_keys("truncation_percentage")},
}
TASK: Shape = {
    **read_keys("type", "code", "entry_script", "append_row_to", "environment"),
    "program_arguments": Kind.TEXT,
    "model": Kind.TEXT,
}
RETRY_SETTINGS = read_keys("timeout", "max_retries")

LITERAL_PORT: Shape = {**read_keys("type", "optional", "default", "min", "max", "enum"), "description": Kind.TEXT}
DATA_PORT: Shape = {**read_keys("type", "optional", "mode", "default"), "description": Kind.TEXT}
OUTPUT_PORT: Shape = {**read_keys("type", "mode"), "description": Kind.TEXT}
# What a component writes as a value; the client keeps both flags, which only old versions of the service look at.
LITERAL_OUTPUT_PORT: Shape = {**OUTPUT_PORT, "is_control": Kind.FLAG, "early_available": Kind.FLAG}
DATA_VALUE: Shape = {**read_keys("type", "path", "mode"), "path_on_compute": Kind.PATH, "datastore": Kind.TEXT}
MODEL_VALUE: Shape = {**read_keys("type", "path", "mode"), "datastore": Kind.TEXT}
OUTPUT_VALUE = read_keys("type", "path", "mode", "name", "version")

INPUT_MODES = frozenset({"download", "ro_mount", "direct", "eval_mount", "eval_download"})
OUTPUT_MODES = frozenset({"mount", "upload", "rw_mount", "direct"})
# A component may declare any of them; ``link`` is of old.
PORT_MODES = INPUT_MODES | OUTPUT_MODES | {"link"}

DATA_ASSET: Shape = {
    **RESOURCE,
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
    **RESOURCE,
    **dict.fromkeys(("id", "creation_context", "latest_version", "intellectual_property"), Kind.SHOWN),
    **read_keys("name", "version", "conda_file"),  # in place, the client does not look at name and version
    "tags": Kind.MAPPING,
    "build": {"path": Kind.PATH, "dockerfile_path": Kind.TEXT},
    "image": Kind.TEXT,
    "inference_config": dict.fromkeys(("liveness_route", "scoring_route", "readiness_route"), _ROUTE),
    "os_type": OneOf("system", frozenset({"linux", "windows"})),
    "datastore": Kind.TEXT,
    "auto_delete_setting": _AUTO_DELETE,
}

# A file that has one of the first declares a component; one that has one of the second, a job.
COMPONENT_ONLY = frozenset({"version", "is_deterministic", "additional_includes", "auto_delete_setting"})
JOB_ONLY = frozenset({"experiment_name", "compute", "services", "identity", "settings", "parent_job_name"})
