"""The keys that azure-ai-ml 1.35.2 knows, from its own schemas (``azure/ai/ml/_schema``)."""

_RESOURCE = frozenset({"$schema", "name", "description", "tags", "properties"})
# What the service adds when it shows a job; the client drops it from a file.
SHOWN = frozenset({"id", "status", "creation_context", "log_files", "parameters", "system_data"})
_JOB = (
    _RESOURCE
    | SHOWN
    | {"type", "display_name", "experiment_name", "compute", "identity", "services", "inputs", "outputs"}
)
_COMMAND = frozenset(
    {"command", "code", "environment", "environment_variables", "resources", "distribution", "queue_settings"}
)
_NODE = _JOB | {"component", "comment", "version"}
_COMPONENT = (
    _RESOURCE
    | SHOWN
    | {"type", "version", "display_name", "is_deterministic", "inputs", "outputs", "auto_delete_setting"}
)
_SWEEP = frozenset(
    {
        "trial",
        "search_space",
        "sampling_algorithm",
        "objective",
        "early_termination",
        "limits",
        "resources",
        "queue_settings",
    }
)
_PARALLEL = frozenset(
    {
        "task",
        "input_data",
        "mini_batch_size",
        "mini_batch_error_threshold",
        "error_threshold",
        "logging_level",
        "max_concurrency_per_instance",
        "retry_settings",
        "partition_keys",
        "resources",
        "environment_variables",
    }
)

COMMAND_JOB = _JOB | _COMMAND | {"limits", "parent_job_name"}
PIPELINE_JOB = _JOB | {"settings", "jobs", "component"}
SWEEP_JOB = _JOB | _SWEEP
PARALLEL_JOB = _JOB | _PARALLEL

COMMAND_STEP = _NODE | COMMAND_JOB | {"is_deterministic", "additional_includes"}
PIPELINE_STEP = _NODE | {"jobs", "settings"}
SWEEP_STEP = _NODE | _SWEEP
PARALLEL_STEP = _NODE | _PARALLEL

COMMAND_COMPONENT = _COMPONENT | _COMMAND | {"additional_includes", "limits"}
PIPELINE_COMPONENT = _COMPONENT | {"jobs", "settings"}
PARALLEL_COMPONENT = _COMPONENT | _PARALLEL

TRIAL = frozenset({"command", "code", "environment", "environment_variables", "resources", "distribution"})
OBJECTIVE = frozenset({"goal", "primary_metric"})
SWEEP_LIMITS = frozenset({"max_total_trials", "max_concurrent_trials", "timeout", "trial_timeout"})
SAMPLING = frozenset({"type", "seed", "rule", "logbase"})
EARLY_TERMINATION = frozenset(
    {"type", "evaluation_interval", "delay_evaluation", "slack_factor", "slack_amount", "truncation_percentage"}
)
TASK = frozenset({"type", "code", "entry_script", "program_arguments", "model", "append_row_to", "environment"})
RETRY_SETTINGS = frozenset({"timeout", "max_retries"})
RESOURCES = frozenset(
    {
        "instance_count",
        "instance_type",
        "properties",
        "locations",
        "shm_size",
        "max_instance_count",
        "docker_args",
    }
)
_PROCESSES = frozenset({"type", "process_count_per_instance"})
DISTRIBUTIONS = {
    "mpi": _PROCESSES,
    "pytorch": _PROCESSES,
    "tensorflow": frozenset({"type", "worker_count", "parameter_server_count"}),
    "ray": frozenset(
        {
            "type",
            "port",
            "address",
            "include_dashboard",
            "dashboard_port",
            "head_node_additional_args",
            "worker_node_additional_args",
        }
    ),
}

QUEUE_SETTINGS = frozenset({"job_tier", "priority"})
TIERS = frozenset({"null", "spot", "basic", "standard", "premium"})
PRIORITIES = frozenset({"low", "medium", "high"})
IDENTITIES = frozenset({"amltoken", "managed", "managedidentity", "useridentity"})  # in whichever case

LITERAL_PORT = frozenset({"type", "optional", "default", "description", "min", "max", "enum"})
DATA_PORT = frozenset({"type", "optional", "description", "mode", "default"})
OUTPUT_PORT = frozenset({"type", "description", "mode"})
LITERAL_OUTPUT_PORT = OUTPUT_PORT | {"is_control", "early_available"}
DATA_VALUE = frozenset({"type", "path", "mode", "path_on_compute", "datastore"})
OUTPUT_VALUE = frozenset({"type", "path", "mode", "name", "version"})

INPUT_MODES = frozenset({"download", "ro_mount", "direct", "eval_mount", "eval_download"})
OUTPUT_MODES = frozenset({"mount", "upload", "rw_mount", "direct"})
# A component may declare any of them; ``link`` is of old.
PORT_MODES = INPUT_MODES | OUTPUT_MODES | {"link"}

DATA_ASSET = _RESOURCE | {"version", "type", "path", "datastore", "auto_delete_setting"}
ENVIRONMENT = _RESOURCE | {
    "version",
    "build",
    "image",
    "conda_file",
    "inference_config",
    "os_type",
    "datastore",
    "auto_delete_setting",
}

# A file that has one of the first declares a component; one that has one of the second, a job.
COMPONENT_ONLY = frozenset({"version", "is_deterministic", "additional_includes", "auto_delete_setting"})
JOB_ONLY = frozenset({"experiment_name", "compute", "services", "identity", "settings", "parent_job_name"})
