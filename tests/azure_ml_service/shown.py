"""How the service shows what was sent to it: text in place of numbers, JSON in place of YAML, who made it and when."""

import json
from typing import Any

import yaml

from tests.azure_ml_service.messages import Json
from tests.azure_ml_service.state import now

_OF_THE_CLIENT = ("_source", "id", "jobs", "sourceJobId")


def system_data(created: str, modified: str | None = None) -> Json:
    """Who made something, and when; ``modified`` is when it was last changed, if ever it can be."""
    who: Json = {"createdBy": "Loopback", "createdByType": "Application"}
    return {
        **who,
        "createdAt": created,
        "lastModifiedBy": "Loopback",
        "lastModifiedByType": "Application",
        "lastModifiedAt": modified or created,
    }


def endpoint_data(before: Json | None) -> Json:
    """Who made an endpoint or a deployment, and when; not by what, nor who changed it. ``before`` is what was there."""
    moment = now()
    created = before["systemData"]["createdAt"] if before else moment
    return {"createdAt": created, "createdBy": "Loopback", "lastModifiedAt": moment}


def conda_as_json(conda: str | None) -> str:
    """A conda file as an environment has it: as JSON, empty if it has none."""
    return "" if not conda else json.dumps(yaml.safe_load(conda), indent=2)


def as_text(spec: Json) -> Json:
    """The definition of a component as the service tells it: every boolean and number is text."""
    shown = {key: value for key, value in spec.items() if key not in _OF_THE_CLIENT}
    shown.setdefault("is_deterministic", spec.get("type") != "pipeline")
    if spec.get("type") == "command":
        shown["resources"] = {"instance_count": 1, **(spec.get("resources") or {})}
    if "inputs" in shown:
        shown["inputs"] = {name: {"optional": False, **port} for name, port in (shown["inputs"] or {}).items()}
    return _text(shown)


def _text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_text(item) for item in value]
    return str(value) if isinstance(value, bool | int | float) else value
