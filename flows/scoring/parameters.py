"""Parameters of the flow ``score-data``."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from flows.training.parameters import EngineName, Text, TrackingName, valid_data_asset


class ScoreParameters(BaseModel):
    """What the flow ``score-data`` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    tracking: ClassVar[TrackingName] = "local"  # none of it is tracked in MLflow

    data_asset_name: Text = Field(
        "diabetes-diagnostics",
        description="What is scored: a data asset (NAME, NAME:VERSION or NAME@latest), or a path to a CSV or Parquet "
        "file or to a folder of them.",
    )
    model: Text = Field(
        "diabetes-predict@champion",
        description="What scores it: NAME or NAME@champion for the champion, or NAME:VERSION.",
    )
    output: Text = Field(
        "outputs/scores.parquet",
        description="The file of the scores, whose ending is .csv or .parquet. A relative path starts at the project; "
        "{data} and {model} in it stand for the data and the model with their versions.",
    )
    endpoint: Text = Field("serving/batch-endpoint.yml", description="Azure ML YAML of the batch endpoint.")
    deployment: Text = Field(
        "serving/batch-deployment.yml", description="Azure ML YAML of its deployment, with the scoring script."
    )
    engine: EngineName = Field(
        "auto", description="Where it is scored: auto takes Azure ML if the workspace's variables are set."
    )

    _valid_data_asset = field_validator("data_asset_name")(valid_data_asset)
