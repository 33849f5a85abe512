"""Parameters of the flow ``deploy-model``."""

from dataclasses import fields
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from flows.rollout.policy import MOST_MIRRORED, RolloutPolicy
from flows.training.parameters import RUN, EngineName, Text, TrackingName

_AS_DEFINED = "As the definition of the endpoint says, if it is left out."

# How the parameters are shown, in this order and before the group of the run.
_WHAT: dict[str, JsonValue] = {"group": "Model"}
_TRAFFIC: dict[str, JsonValue] = {"group": "Traffic"}
_CHECKS: dict[str, JsonValue] = {"group": "Checks"}


def is_file(endpoint: str) -> bool:
    """Whether an endpoint is given as a file, and not by its name, which has no dot in it."""
    return endpoint.endswith((".yml", ".yaml"))


class DeployParameters(BaseModel):
    """What the flow ``deploy-model`` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    tracking: ClassVar[TrackingName] = "local"  # none of it is tracked in MLflow

    model: Text = Field(
        "diabetes-predict@champion",
        description="What is served: NAME or NAME@champion for the champion, or NAME:VERSION.",
        json_schema_extra=_WHAT,
    )
    endpoint: Text = Field(
        "serving/endpoint.yml",
        description="Azure ML YAML of the endpoint, or the name of one that is there.",
        json_schema_extra=_WHAT,
    )
    deployment: Text = Field(
        "serving/deployment.yml", description="Azure ML YAML of its deployments.", json_schema_extra=_WHAT
    )
    steps: tuple[int, ...] | None = Field(
        None,
        description=f"Shares of the new deployment in percent, rising to 100, such as 10 50 100. {_AS_DEFINED}",
        json_schema_extra=_TRAFFIC,
    )
    pause_seconds: float | None = Field(
        None,
        ge=0,
        le=86_400,
        description=f"How long each share is held before it is checked. {_AS_DEFINED}",
        json_schema_extra=_TRAFFIC,
    )
    mirror_percent: int | None = Field(
        None,
        ge=0,
        le=MOST_MIRRORED,
        description="Share of the requests that the new deployment gets a copy of before its first share, in percent. "
        + _AS_DEFINED,
        json_schema_extra=_TRAFFIC,
    )
    keep_seconds: float | None = Field(
        None,
        ge=0,
        le=30 * 86_400,
        description=f"How long the old deployment is kept afterwards. {_AS_DEFINED}",
        json_schema_extra=_TRAFFIC,
    )
    max_error_share: float | None = Field(
        None,
        ge=0,
        le=1,
        description=f"Greatest share of failed requests in a check. {_AS_DEFINED}",
        json_schema_extra=_CHECKS,
    )
    max_p99_seconds: float | None = Field(
        None,
        gt=0,
        le=180,
        description=f"Longest that 99 of 100 requests may take. {_AS_DEFINED}",
        json_schema_extra=_CHECKS,
    )
    engine: EngineName = Field(
        "auto",
        description="Where it is served: auto takes Azure ML if the workspace's variables are set.",
        json_schema_extra=RUN,
    )

    def policy(self, tags: dict[str, str]) -> RolloutPolicy:
        """How the new deployment takes over: as the definition's tags say, but for what is given here.

        Raises:
            ParameterError: A value is wrong.
        """
        names = [one.name for one in fields(RolloutPolicy) if one.name in DeployParameters.model_fields]
        given: dict[str, Any] = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return RolloutPolicy.of(tags, given)
