"""Tables of the keys of endpoints and deployments, as :mod:`flows.spec.text.keys` has those of jobs."""

from flows.spec.text.keys import IDENTITY, RESOURCE, RESOURCES, Kind, OneOf, Shape, read_keys

_PROBE: Shape = dict.fromkeys(
    ("initial_delay", "period", "timeout", "success_threshold", "failure_threshold"), Kind.READ
)
_ACCESS = OneOf("choice", frozenset({"enabled", "disabled"}))
_SERVED: Shape = {
    **RESOURCE,
    **read_keys("name"),
    **dict.fromkeys(("id", "provisioning_state"), Kind.TEXT),
    "tags": Kind.MAPPING,
    "properties": Kind.MAPPING,
}
ONLINE_ENDPOINT: Shape = {
    **_SERVED,
    **read_keys("auth_mode", "traffic", "mirror_traffic"),
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
    **read_keys("type", "endpoint_name", "model", "environment", "environment_variables"),
    **read_keys("instance_type", "instance_count"),
    "code_configuration": {"code": Kind.READ, "scoring_script": Kind.READ},
    "app_insights_enabled": Kind.FLAG,
    "scale_settings": Kind.READ,
    "request_settings": read_keys("request_timeout_ms", "max_concurrent_requests_per_instance", "max_queue_wait_ms"),
    "liveness_probe": _PROBE,
    "readiness_probe": _PROBE,
    "model_mount_path": Kind.TEXT,
    "data_collector": {
        **read_keys("collections", "rolling_rate", "sampling_rate"),
        "request_logging": read_keys("capture_headers"),
    },
    "egress_public_network_access": _ACCESS,
    "private_network_connection": Kind.FLAG,
    "creation_context": Kind.SHOWN,
}
BATCH_ENDPOINT: Shape = {
    **_SERVED,
    **read_keys("auth_mode"),
    **dict.fromkeys(("scoring_uri", "openapi_uri", "location"), Kind.TEXT),
    "defaults": {"deployment_name": Kind.TEXT},
    "identity": IDENTITY,
}
BATCH_SETTINGS: Shape = {
    **read_keys("error_threshold", "mini_batch_size", "max_concurrency_per_instance", "instance_count"),
    **read_keys("logging_level", "output_action", "output_file_name", "environment_variables"),
    "retry_settings": read_keys("max_retries", "timeout"),
}
_BATCH_DEPLOYMENT: Shape = {
    **_SERVED,
    **read_keys("type", "endpoint_name", "model", "environment", "environment_variables", "compute"),
    "code_configuration": {"code": Kind.READ, "scoring_script": Kind.READ},
    "resources": RESOURCES,
}
MODEL_BATCH_DEPLOYMENT: Shape = {**_BATCH_DEPLOYMENT, "error_threshold": Kind.WHOLE, "settings": BATCH_SETTINGS}
BATCH_DEPLOYMENT: Shape = {
    **_BATCH_DEPLOYMENT,
    **{key: value for key, value in BATCH_SETTINGS.items() if key != "instance_count"},
    "creation_context": Kind.SHOWN,
}
PIPELINE_BATCH_DEPLOYMENT: Shape = {
    **read_keys("name", "type", "endpoint_name", "component", "job_definition"),
    "description": Kind.TEXT,
    "$schema": Kind.SHOWN,
    "tags": Kind.MAPPING,
    "settings": Kind.MAPPING,
}
# A collection of a data collector, and the data asset that it is registered as.
COLLECTION: Shape = read_keys("enabled", "data", "client_id")
COLLECTED_DATA: Shape = read_keys("name", "path", "version")
# A model that is described in place.
MODEL_IN_PLACE: Shape = {
    **RESOURCE,
    "version": Kind.READ,
    "type": OneOf("type", frozenset({"custom_model", "mlflow_model", "triton_model"})),
    "path": Kind.READ,
    **dict.fromkeys(("tags", "properties", "flavors", "system_metadata", "default_deployment_template"), Kind.MAPPING),
    **dict.fromkeys(("stage", "datastore"), Kind.TEXT),
    **dict.fromkeys(("id", "job_name", "creation_context", "latest_version", "intellectual_property"), Kind.SHOWN),
    **dict.fromkeys(("utc_time_created", "allowed_deployment_templates"), Kind.SHOWN),
}
