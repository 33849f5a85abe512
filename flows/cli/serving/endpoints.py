"""``tandem endpoints``: list what is served and what it costs, show a key, delete an endpoint."""

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from flows.cli.options import DeleteEndpointOptions, EndpointKeyOptions, ListEndpointsOptions
from flows.engines.open_engine import chosen_engine
from flows.errors import ParameterError, ServingError
from flows.plain_text.table import aligned
from flows.rollout.cost import cost_a_day, cost_so_far
from flows.serving.endpoints import Deployment, Endpoint
from flows.serving.open_serving import open_serving
from flows.settings import Settings


def list_endpoints(options: ListEndpointsOptions) -> int:
    """Print all endpoints with their deployments, and return the exit code.

    Raises:
        TandemError: They cannot be listed.
    """
    settings = Settings.from_environment()
    kind = chosen_engine(options.engine, settings).kind

    async def found() -> Sequence[Endpoint]:
        async with open_serving(kind.name, settings) as serving:
            return await serving.endpoints()

    endpoints, now = asyncio.run(found()), datetime.now(UTC)
    if options.json:
        print(json.dumps([_as_json(endpoint, now, costs=not kind.runs_here) for endpoint in endpoints], indent=2))
    elif not endpoints:
        print("There are no endpoints.\n\n  Serve a model:  tandem deploy MODEL")
    else:
        print("\n".join(endpoints_as_text(endpoints, now, costs=not kind.runs_here)))
    return 0


def endpoints_as_text(endpoints: Sequence[Endpoint], now: datetime, *, costs: bool) -> list[str]:
    """A line for each deployment and, where they cost, what all of them cost a day and have cost so far."""
    rows: list[Sequence[str]] = [("endpoint", "deployment", "share", "model", "state", "age", "instances")]
    for endpoint in endpoints:
        if not endpoint.deployments:
            rows.append((endpoint.name, "none", "", "", str(endpoint.state), "", ""))
        for one in endpoint.deployments:
            model, size = one.model, f"{one.instances} × {one.instance_type}" if costs else str(one.instances)
            mirror = endpoint.mirror.get(one.name)
            share = f"{endpoint.traffic.get(one.name, 0)} %{f', copies of {mirror} %' if mirror else ''}"
            label = model.label if model else "unknown"
            rows.append((endpoint.name, one.name, share, label, str(one.state), _age(one, now), size))
    lines = aligned(rows, right={2})
    if costs:
        there = [one for endpoint in endpoints for one in endpoint.deployments]
        day, so_far = cost_a_day(there), cost_so_far(there, now)
        lines += ["", f"  {day.text} a day, with or without traffic; {so_far.text} so far."]
    return lines


def show_key(options: EndpointKeyOptions) -> int:
    """Print the key of an endpoint and nothing else, and return the exit code.

    Raises:
        ServingError: There is no such endpoint.
    """
    settings = Settings.from_environment()
    kind = chosen_engine(options.engine, settings).kind

    async def key() -> str:
        async with open_serving(kind.name, settings) as serving:
            return await serving.key(options.name)

    print(asyncio.run(key()))
    return 0


def delete_endpoint(options: DeleteEndpointOptions) -> int:
    """Delete an endpoint with its deployments, once a person has agreed; return the exit code.

    Raises:
        ParameterError: Nobody can be asked, and ``--yes`` was not given.
        ServingError: There is no such endpoint, or it cannot be deleted.
    """
    settings = Settings.from_environment()
    kind = chosen_engine(options.engine, settings).kind

    async def delete() -> Endpoint | None:
        async with open_serving(kind.name, settings) as serving:
            endpoint = await serving.endpoint(options.name)
            if endpoint is None:
                raise ServingError(f"There is no endpoint {options.name}. See what there is: tandem endpoints")
            names = ", ".join(one.name for one in endpoint.deployments) or "no deployments"
            if not options.yes and not _agreed(
                f"Delete the endpoint {endpoint.name} ({names})? Its address is gone then."
            ):
                return None
            if endpoint.traffic or endpoint.mirror:
                await serving.set_traffic(endpoint.name, {})
            for one in endpoint.deployments:
                await serving.delete_deployment(endpoint.name, one.name)
            await serving.delete_endpoint(endpoint.name)
            return endpoint

    deleted = asyncio.run(delete())
    if options.json:
        gone = [one.name for one in deleted.deployments] if deleted else []
        print(json.dumps({"name": options.name, "deleted": deleted is not None, "deployments": gone}, indent=2))
    else:
        print(f"The endpoint {deleted.name} was deleted." if deleted else "Nothing was deleted.")
    return 0


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ParameterError(f"{question} Nobody can be asked here: add --yes. Nothing was deleted.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)  # standard output is for the result
    return input().strip().lower() in {"y", "yes"}


def _age(deployment: Deployment, now: datetime) -> str:
    if deployment.created is None:
        return ""
    minutes = int((now - deployment.created).total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"


def _as_json(endpoint: Endpoint, now: datetime, *, costs: bool) -> dict[str, Any]:
    return {
        "name": endpoint.name,
        "state": str(endpoint.state),
        "scoring_uri": endpoint.scoring_uri,
        "auth_mode": endpoint.auth_mode,
        "deployments": [
            {
                "name": one.name,
                "state": str(one.state),
                "share": endpoint.traffic.get(one.name, 0),
                "mirror": endpoint.mirror.get(one.name, 0),
                "model": one.model.name if one.model else None,
                "version": one.model.version if one.model else None,
                "instances": one.instances,
                "instance_type": one.instance_type,
                "hours": None if one.created is None else round((now - one.created).total_seconds() / 3600, 2),
                "instance_hours": None if one.created is None else round(cost_so_far([one], now).hours, 2),
                "cost_a_day": cost_a_day([one]).rounded if costs else {},
                "cost_so_far": cost_so_far([one], now).rounded if costs else {},
            }
            for one in endpoint.deployments
        ],
    }
