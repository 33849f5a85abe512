"""Pages of the router: the endpoints for a person, and the description of each in OpenAPI."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from flows.serving.local.files import StoredEndpoint

# The types of MLflow's signatures in OpenAPI's words.
_TYPES = {
    **dict.fromkeys(("integer", "long"), "integer"),
    **dict.fromkeys(("float", "double"), "number"),
    **dict.fromkeys(("string", "datetime"), "string"),
    "boolean": "boolean",
}


def columns_of(model_folder: Path) -> list[dict[str, Any]]:
    """The columns of a model's signature, in MLflow's words; none where it has no such signature."""
    for file in (model_folder / "MLmodel", *sorted(model_folder.glob("*/MLmodel"))):
        try:
            found = yaml.safe_load(file.read_bytes())
            columns = json.loads(found["signature"]["inputs"])
            return [column for column in columns if isinstance(column, dict) and "name" in column]
        except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
            continue
    return []


def openapi(endpoint: StoredEndpoint, columns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The description of an endpoint: what it takes and answers."""
    row = {
        "type": "object",
        "required": [column["name"] for column in columns if column.get("required", True)],
        "properties": {column["name"]: _schema(str(column.get("type"))) for column in columns},
    }
    split = {
        "type": "object",
        "required": ["columns", "data"],
        "properties": {
            "columns": {"type": "array", "items": {"type": "string"}},
            "index": {"type": "array", "items": {}},
            "data": {"type": "array", "items": {"type": "array", "items": {}}},
        },
    }
    rows = {"input_data": {"oneOf": [split, {"type": "array", "items": row}]}}
    request = {"type": "object", "required": ["input_data"], "properties": rows}
    responses = {
        "200": "The answer of the model.",
        "401": "No key, or a wrong one.",
        "404": "No such endpoint or deployment, or none has a share of the traffic.",
        "408": "It took longer than the deployment lets a request take.",
        "424": "The script answered another status than 200, which ms-azureml-model-error-statuscode tells.",
        "429": "There are too many requests.",
        "502": "The instance ended before it answered.",
        "503": "No instance is ready.",
    }
    return {
        "openapi": "3.0.3",
        "info": {"title": endpoint.name, "description": endpoint.description, "version": "1"},
        "paths": {
            f"/endpoints/{endpoint.name}/score": {
                "post": {
                    "summary": "Score rows.",
                    "security": [{"key": []}],
                    "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
                    "responses": {status: {"description": text} for status, text in responses.items()},
                }
            }
        },
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def overview(endpoints: Sequence[tuple[StoredEndpoint, Sequence[tuple[str, str]]]], port: int) -> str:
    """A page with all endpoints: the deployments of each with their states, and how to call it."""
    parts = ["<!doctype html><meta charset=utf-8><title>Local endpoints</title><h1>Local endpoints</h1>"]
    if not endpoints:
        parts.append("<p>There are none.</p>")
    for endpoint, deployments in endpoints:
        name = html.escape(endpoint.name)
        parts.append(f"<h2>{name}</h2><p>{html.escape(endpoint.description)}</p><ul>")
        for deployment, state in deployments:
            share = endpoint.traffic.get(deployment, 0)
            parts.append(f"<li>{html.escape(deployment)}: {html.escape(state)}, {share} % of the requests</li>")
        call = (
            f"curl http://127.0.0.1:{port}/endpoints/{endpoint.name}/score -H 'Content-Type: application/json' "
            f'-H "Authorization: Bearer $(tandem endpoints key {endpoint.name})" -d @rows.json'
        )
        parts.append(f"</ul><pre>{html.escape(call)}</pre>")
        parts.append(f'<p><a href="/endpoints/{name}/swagger.json">OpenAPI</a></p>')
    parts.append('<p><a href="/metrics">Metrics</a></p>')
    return "".join(parts)


def _schema(kind: str) -> dict[str, str]:
    return {"type": _TYPES[kind]} if kind in _TYPES else {}
