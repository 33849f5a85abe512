"""The keys that azure-ai-ml 1.35.2 knows, from its own schemas (``azure/ai/ml/_schema``)."""

_RESOURCE = frozenset({"$schema", "name", "description", "tags", "properties"})
_JOB = _RESOURCE | {"type", "display_name", "experiment_name", "compute", "identity", "services", "inputs", "outputs"}
_COMMAND = frozenset(
    {"command", "code", "environment", "environment_variables", "resources", "distribution", "queue_settings"}
)

COMMAND_JOB = _JOB | _COMMAND | {"limits", "parent_job_name"}
PIPELINE_JOB = _JOB | {"settings", "jobs", "component"}
COMMAND_STEP = COMMAND_JOB | {"component", "comment", "version"}
COMMAND_COMPONENT = (
    _RESOURCE
    | _COMMAND
    | {
        "type",
        "version",
        "display_name",
        "is_deterministic",
        "inputs",
        "outputs",
        "additional_includes",
        "auto_delete_setting",
    }
)

LITERAL_PORT = frozenset({"type", "optional", "default", "description", "min", "max", "enum"})
DATA_PORT = frozenset({"type", "optional", "description", "mode", "default"})
OUTPUT_PORT = frozenset({"type", "description", "mode"})
DATA_VALUE = frozenset({"type", "path", "mode", "path_on_compute", "datastore"})
OUTPUT_VALUE = frozenset({"type", "path", "mode", "name", "version"})

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

# A file that has one of these declares a component, not a job.
COMPONENT_ONLY = frozenset({"version", "is_deterministic", "additional_includes", "auto_delete_setting"})
