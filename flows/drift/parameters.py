"""Parameters of the flow ``watch-data``."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from flows.drift.statistics import DriftPolicy
from flows.settings import TRAINED_MODEL
from flows.training.parameters import EngineName, ModelName, Text, TrackingName, valid_data_asset, valid_model_name


class WatchParameters(BaseModel):
    """What the flow ``watch-data`` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    tracking: ClassVar[TrackingName] = "local"  # none of it is tracked in MLflow

    model_name: ModelName = Field(TRAINED_MODEL, description="Registered model whose champion is watched.")
    data_asset_name: Text = Field(
        "diabetes-diagnostics",
        description="Incoming data: a data asset (NAME, NAME:VERSION or NAME@latest), or a path to a CSV or Parquet "
        "file.",
    )
    psi_threshold: float = Field(
        0.1,
        gt=0,
        le=10,
        description="Smallest population stability index of a feature that counts as drift; by convention 0.1 is "
        "moderate and 0.25 large.",
    )
    significance: float = Field(
        0.01,
        gt=0,
        le=0.5,
        description="Highest allowed probability of a false alarm, over all features and both statistics.",
    )
    min_rows: int = Field(
        100, ge=20, le=1_000_000_000, description="With fewer rows on either side, nothing is compared."
    )
    emit: bool = Field(
        False,
        description="Emit the event of a drift, which starts train-pipeline/on-drift where that is deployed; else the "
        "drift is only reported.",
    )
    engine: EngineName = Field(
        "auto", description="Where champion and data are: auto takes Azure ML if the workspace's variables are set."
    )

    @property
    def policy(self) -> DriftPolicy:
        """When a difference counts."""
        return DriftPolicy(self.psi_threshold, self.significance)

    _valid_model_name = field_validator("model_name")(valid_model_name)
    _valid_data_asset = field_validator("data_asset_name")(valid_data_asset)
