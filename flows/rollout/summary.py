"""What a rollout came to, as text for a person, as Markdown for Prefect, and as JSON. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from flows.plain_text.table import aligned
from flows.rollout.cost import cost_a_day
from flows.rollout.plan import (
    Action,
    Begin,
    Check,
    CheckMirror,
    CreateEndpoint,
    Delete,
    Deploy,
    Done,
    Hold,
    Keep,
    RestoreShares,
    Retire,
    SetMirror,
    SetShare,
    Smoke,
    Undo,
    WaitForPlace,
)
from flows.serving.endpoints import Endpoint, ServedModel

DEPLOYED, UNCHANGED, ROLLED_BACK, OVERTAKEN = "Deployed", "Unchanged", "RolledBack", "Overtaken"


@dataclass(frozen=True, slots=True)
class DeploySummary:
    """A rollout that is over.

    Attributes:
        model: What was to be served.
        engine: Where.
        costs: Whether that place takes money for a deployment while it exists.
        endpoint: As it is now.
        colour: The deployment that has the most traffic; None if there is none.
        changed: Whether anything was done.
        failed: Why it was rolled back; empty if it was not.
        logs: The last lines of each container of the deployment that was rolled back.
        overtaken: Whether another rollout has begun since the model was served alone.
    """

    model: ServedModel
    engine: str
    costs: bool
    endpoint: Endpoint
    colour: str | None
    changed: bool
    failed: str = ""
    logs: Mapping[str, str] = field(default_factory=lambda: MappingProxyType(dict[str, str]()))
    overtaken: bool = False

    @property
    def verdict(self) -> str:
        """The name of the flow run's final state."""
        if self.overtaken:
            return OVERTAKEN
        return ROLLED_BACK if self.failed else DEPLOYED if self.changed else UNCHANGED

    @property
    def is_served(self) -> bool:
        """Whether the model is served in the end, as was asked."""
        return self.verdict in {DEPLOYED, UNCHANGED}

    @property
    def message(self) -> str:
        """One sentence for a person."""
        name, label = self.endpoint.name, self.model.label
        if self.overtaken:
            shares = ", ".join(
                f"{one.name} has {share} % ({one.model.label if one.model else 'an unknown model'})"
                for one in self.endpoint.deployments
                if (share := self.endpoint.traffic.get(one.name, 0))
            )
            return (
                f"{label} had all the traffic of the endpoint {name}, until another rollout began there. "
                f"Now {shares or 'nothing is served'}."
            )
        if self.failed:
            old = self.endpoint.deployment(self.colour or "")
            served = old.model if old is not None else None
            still = (
                f"{served.label if served else self.colour} serves as before" if self.colour else "nothing is served"
            )
            return f"{label} was rolled back from the endpoint {name}: {self.failed.rstrip('. ')}. Now {still}."
        if not self.changed:
            return f"{label} is served by the endpoint {name} already; nothing was done."
        return f"{label} has all the traffic of the endpoint {name}, as {self.colour}."


def deployments_table(endpoint: Endpoint) -> list[dict[str, Any]]:
    """The deployments of an endpoint with their shares, for a table in Prefect; with copies, where one gets some."""
    return [
        {
            "deployment": one.name,
            "share %": endpoint.traffic.get(one.name, 0),
            **({"copies %": endpoint.mirror.get(one.name, 0)} if endpoint.mirror else {}),
            "model": one.model.label if one.model else "unknown",
            "state": str(one.state),
            "instances": one.instances,
        }
        for one in endpoint.deployments
    ]


def summary_as_text(summary: DeploySummary) -> str:
    """What a person reads at the end of ``tandem deploy``."""
    rows: list[Sequence[str]] = [("deployment", "share", "model", "state")]
    rows += [
        (row["deployment"], f"{row['share %']} %", row["model"], row["state"])
        for row in deployments_table(summary.endpoint)
    ]
    logs = [f"\n  The last lines of {name}:\n{_indented(text)}" for name, text in summary.logs.items() if text]
    name = summary.endpoint.name
    try_it = f"  Address:  {summary.endpoint.scoring_uri}\n  Key:      tandem endpoints key {name}\n"
    if summary.costs:
        try_it += f"  Cost:     {cost_a_day(summary.endpoint.deployments).text} a day, with or without traffic\n"
    table = "\n".join(aligned(rows, right={1}))
    return f"\n{summary.verdict}: {summary.message}\n\n{table}\n{''.join(logs)}\n{try_it}"


def summary_as_json(summary: DeploySummary) -> dict[str, Any]:
    """The same for machines."""
    cost = cost_a_day(summary.endpoint.deployments)
    return {
        "verdict": summary.verdict,
        "message": summary.message,
        "model": summary.model.name,
        "version": summary.model.version,
        "engine": summary.engine,
        "endpoint": summary.endpoint.name,
        "scoring_uri": summary.endpoint.scoring_uri,
        "deployment": summary.colour,
        "deployments": deployments_table(summary.endpoint),
        "instance_hours_a_day": cost.hours,
        "cost_a_day": cost.rounded if summary.costs else {},
        "failed": summary.failed,
    }


def told(action: Action, model: ServedModel) -> str:
    """What a rollout does next, as a line of the log."""
    match action:
        case CreateEndpoint():
            return "creating the endpoint"
        case WaitForPlace(what):
            return f"waiting: {what}"
        case Begin(rolling):
            return f"{model.label} becomes {rolling.colour}; the shares until now are written down at the endpoint"
        case Deploy(colour):
            return f"creating the deployment {colour}, and waiting until it is ready"
        case Smoke(colour):
            return f"testing {colour} with known rows, before it has traffic"
        case SetShare(_, shares):
            return "traffic: " + ", ".join(f"{name} {share} %" for name, share in sorted(shares.items()))
        case SetMirror(colour, percent):
            return f"{colour} gets copies of {percent} % of the requests, and no share yet"
        case Hold(seconds, share, mirror):
            return f"holding {f'copies of {mirror}' if mirror else share} % for {seconds:.0f} s"
        case CheckMirror(colour):
            return f"checking {colour}, which gets copies of requests: its state, its answers and its log"
        case Check(colour, share):
            return f"checking what the route answers, with {colour} at {share} %"
        case Retire(colour, old):
            return f"{colour} has all the traffic" + (f"; {' and '.join(old)} is kept without" if old else "")
        case Keep(_, old, seconds):
            kept = f"{' and '.join(old)} is kept for another {seconds:.0f} s, to take over again if need be"
            return f"{kept}, and then deleted; if this is interrupted before, tandem reap finds it"
        case Delete(colour):
            return f"deleting {colour}, which has no traffic"
        case RestoreShares(_, shares):
            back = ", ".join(f"{name} {share} %" for name, share in sorted(shares.items())) or "none"
            return f"the shares from before are set again: {back}"
        case Undo(rolling):
            return f"keeping the logs of {rolling.colour}, and deleting it"
        case Done():
            return "nothing is left to do"


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines()[-20:])
