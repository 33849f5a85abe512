"""Parameters of the flows: one validated model for each, from which Prefect's form and the flags are made."""

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator
from pydantic.fields import FieldInfo

from flows.data.assets import is_path
from flows.engines.open_engine import ENGINES
from flows.engines.polling import Timeouts
from flows.errors import ParameterError
from flows.mlflow_store.model_names import MODEL_NAME, check_model_name
from flows.settings import TRAINED_MODEL
from flows.spec.text.words import did_you_mean
from flows.training.evaluation import METRICS
from flows.training.gate import GatePolicy
from flows.training.wrong_values import wrong_values

if TYPE_CHECKING:
    EngineName = str
else:  # a choice, as a form and a command line show it
    EngineName = Literal["auto", *ENGINES]
TrackingName = Literal["local", "azureml"]
SuspendWish = Literal["auto", "always", "never"]
Solver = Literal["lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"]
MetricName = Literal[
    "roc_auc", "average_precision", "accuracy", "precision", "recall", "f1", "brier_score_loss", "log_loss"
]
Text = Annotated[str, Field(min_length=1, max_length=255)]


@dataclass(frozen=True, slots=True)
class ShownPattern:
    """A pattern that Prefect's form and server check. The model has a validator with a better message."""

    pattern: str

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        """The JSON schema of the text, with the pattern."""
        return {**handler(schema), "pattern": self.pattern}


ModelName = Annotated[Text, ShownPattern(f"^{MODEL_NAME.pattern}$")]


def valid_data_asset(value: str) -> str:
    """A validator of pydantic: the text names a data asset or a file."""
    if not is_path(value) and not value.removeprefix("azureml:").strip(":@"):
        raise ValueError("name a data asset or a file")
    return value


def valid_model_name(value: str) -> str:
    """A validator of pydantic: the text can be the name of a registered model."""
    _checked(check_model_name, value)
    return value


def _group(title: str) -> dict[str, JsonValue]:
    return {"group": title}


# How the parameters are shown, in this order: by the form of Prefect and by ``--help``.
TRAINING, SPLIT, GATE = _group("Training"), _group("Split"), _group("Gate")
RESULT, RUN, AZURE = _group("Result"), _group("Run"), _group("Azure ML only")
GROUPS = [group["group"] for group in (TRAINING, SPLIT, GATE, RESULT, RUN, AZURE)]


def group_of(field: FieldInfo) -> str:
    """The title of the group that a parameter is shown in; empty for one of a flow with few parameters."""
    extra = field.json_schema_extra
    return str(extra["group"]) if isinstance(extra, dict) and "group" in extra else ""


class EngineParameters(BaseModel):
    """Where a job runs, and how long it is waited for."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    force_rerun: bool = Field(
        False, description="Run every step, even if nothing it depends on has changed.", json_schema_extra=RUN
    )
    engine: EngineName = Field(
        "auto",
        description="Where it runs: auto takes Azure ML if the workspace's variables are set, else local.",
        json_schema_extra=RUN,
    )
    tracking: TrackingName = Field(
        "local",
        description="Local engine only: where MLflow keeps the runs; azureml is the workspace. Models are registered "
        "on this machine either way. On Azure ML both are in the workspace.",
        json_schema_extra=RUN,
    )
    environment_name: Text = Field(
        "diabetes-classify", description="Azure ML environment that the steps run in.", json_schema_extra=RUN
    )
    compute_name: Text = Field(
        "cpu-cluster-01", description="Azure ML compute target. The local engine ignores it.", json_schema_extra=AZURE
    )
    queue_timeout_seconds: float | None = Field(
        None,
        gt=0,
        description="Azure ML only: cancel the job if it waits longer than this for a machine.",
        json_schema_extra=AZURE,
    )
    run_timeout_seconds: float | None = Field(
        None,
        gt=0,
        description="Azure ML only: cancel the job if it runs longer than this; waiting does not count.",
        json_schema_extra=AZURE,
    )
    max_resubmissions: int = Field(
        1,
        ge=0,
        le=20,
        description="Azure ML only: how often to submit the job again if machines fail it (preemption, a lost node).",
        json_schema_extra=AZURE,
    )
    suspend: SuspendWish = Field(
        "auto",
        description="Azure ML only: whether the process of a deployed flow run ends while its job runs, and watch-jobs "
        "starts it again. Auto does so where watch-jobs is deployed.",
        json_schema_extra=AZURE,
    )

    @property
    def timeouts(self) -> Timeouts:
        """How long to wait for a job."""
        return Timeouts(self.queue_timeout_seconds, self.run_timeout_seconds)


class TrainingParameters(EngineParameters):
    """What both flows take."""

    data_asset_name: Text = Field(
        "diabetes-diagnostics",
        description="Data asset (NAME, NAME:VERSION or NAME@latest), or a path to a CSV or Parquet file.",
        json_schema_extra=TRAINING,
    )
    reg_rate: float = Field(
        0.01,
        gt=0,
        le=1e9,
        allow_inf_nan=False,
        description="Regularization rate, the inverse of scikit-learn's C.",
        json_schema_extra=TRAINING,
    )
    solver: Solver = Field(
        "liblinear", description="Algorithm that fits the logistic regression.", json_schema_extra=TRAINING
    )
    max_iter: int = Field(
        1000, ge=1, le=1_000_000, description="Most iterations that the solver may take.", json_schema_extra=TRAINING
    )
    test_share: float = Field(
        0.3,
        ge=0.05,
        le=0.95,
        description="Share of the patients (or rows) that are kept for the evaluation.",
        json_schema_extra=SPLIT,
    )
    split: Literal["patient", "random"] = Field(
        "patient",
        description="Split by a hash of PatientID, so that no patient is ever on both sides; or by random rows.",
        json_schema_extra=SPLIT,
    )
    split_seed: int = Field(
        0, ge=0, le=2**32 - 1, description="Draws another split, of either kind.", json_schema_extra=SPLIT
    )
    zeros_as_missing: bool = Field(
        True, description="Take a zero in the five measurement columns as not measured.", json_schema_extra=TRAINING
    )
    threshold: float = Field(
        0.5, ge=0, le=1, description="Probability from which a patient counts as diabetic.", json_schema_extra=TRAINING
    )

    _valid_data_asset = field_validator("data_asset_name")(valid_data_asset)


class PipelineParameters(TrainingParameters):
    """What the pipeline flow takes."""

    model_name: ModelName = Field(
        TRAINED_MODEL, description="Registered model that may get a new version.", json_schema_extra=RESULT
    )
    gate_metric: MetricName = Field(
        "roc_auc", description="Metric that decides whether the challenger is registered.", json_schema_extra=GATE
    )
    gate_floor: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="Worst acceptable value of that metric. If not given: "
        + ", ".join(f"{metric.floor:g} for {name}" for name, metric in METRICS.items())
        + ".",
        json_schema_extra=GATE,
    )
    gate_min_improvement: float = Field(
        0.001,
        ge=0,
        allow_inf_nan=False,
        description="By how much the challenger must beat the champion.",
        json_schema_extra=GATE,
    )
    skip_if_unchanged: bool = Field(
        False,
        description="End as Skipped if data, code, parameters and environment are those of the champion's decision, or "
        "another flow run trains on the same at this moment.",
        json_schema_extra=GATE,
    )
    pipeline: Text = Field(
        "diabetes-training-pipeline", description="Display name of the pipeline job.", json_schema_extra=RESULT
    )
    experiment_name: Text = Field(
        "diabetes-classification", description="Experiment that the runs are listed under.", json_schema_extra=RESULT
    )
    evaluation_output: Text = Field(
        "outputs/evaluation", description="Folder that the evaluation is copied to.", json_schema_extra=RESULT
    )

    _valid_model_name = field_validator("model_name")(valid_model_name)

    @property
    def gate(self) -> GatePolicy:
        """The gate's policy."""
        floor = METRICS[self.gate_metric].floor if self.gate_floor is None else self.gate_floor
        return GatePolicy(self.gate_metric, floor, self.gate_min_improvement)

    def model_post_init(self, context: Any, /) -> None:
        """Check the gate's three values against each other."""
        _checked(lambda _: self.gate, None)


class JobParameters(TrainingParameters):
    """What the job flow takes."""

    model_name: ModelName = Field(
        "diabetes-model-predict", description="Registered model that gets a new version.", json_schema_extra=RESULT
    )
    experiment_name: Text = Field(
        "diabetes-classify", description="Experiment that the runs are listed under.", json_schema_extra=RESULT
    )
    evaluation_output: Text = Field(
        "outputs/train-job", description="Folder that model and evaluation are copied to.", json_schema_extra=RESULT
    )

    _valid_model_name = field_validator("model_name")(valid_model_name)


P = TypeVar("P", bound=BaseModel)
R = TypeVar("R")


def shown_fields(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """The fields as a person is asked for them, group by group; last what only Azure ML needs."""

    def place(item: tuple[str, FieldInfo]) -> int:
        group = group_of(item[1])
        return GROUPS.index(group) if group in GROUPS else -1

    return dict(sorted(model.model_fields.items(), key=place))


def with_parameters(model: type[P]) -> Callable[[Callable[[P], Awaitable[R]]], Callable[..., Awaitable[R]]]:
    """Let a flow's function take the fields of ``model`` as its own parameters, with their docs, ranges and defaults.

    Prefect reads a flow's form from its signature and docstring; the model stays the only place that says them.
    """

    fields = shown_fields(model)

    def decorate(function: Callable[[P], Awaitable[R]]) -> Callable[..., Awaitable[R]]:
        @functools.wraps(function)
        async def flat(**values: Any) -> R:
            return await function(validated(model, values))

        parameters = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty
                if field.is_required()
                else field.get_default(call_default_factory=True),
                annotation=Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation,
            )
            for name, field in fields.items()
        ]
        arguments = "\n".join(f"    {name}: {field.description}" for name, field in fields.items())
        flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        flat.__dict__["parameters_model"] = model  # which wrappers of the function keep
        flat.__doc__ = f"{inspect.getdoc(function) or ''}\n\nArgs:\n{arguments}\n"
        return flat

    return decorate


def validated(model: type[P], values: dict[str, Any]) -> P:
    """Return the parameters that ``values`` give.

    Raises:
        ParameterError: Some are wrong; one line for each, with what is allowed.
    """
    try:
        return model(**values)
    except ValidationError as error:
        told = (_told(model, fault, sentence) for fault, sentence in wrong_values(error))
        raise ParameterError("\n".join(told)) from None


def _told(model: type[BaseModel], fault: Any, sentence: str) -> str:
    """The sentence on a wrong value, with the nearest right one where a word is not known."""
    if fault["type"] == "extra_forbidden":
        name = str(fault["loc"][0])
        return f"{name}: there is no such parameter. {did_you_mean(name, model.model_fields)}".rstrip()
    if fault["type"] == "literal_error":
        choices = [str(value) for value in get_args(model.model_fields[fault["loc"][0]].annotation)]
        return f"{sentence}. {did_you_mean(str(fault['input']), choices)}".rstrip()
    return sentence if fault["type"] == "value_error" else f"{sentence}."


def _checked(check: Callable[[Any], object], value: Any) -> None:
    """Turn our own error into the one that pydantic collects."""
    try:
        check(value)
    except ParameterError as error:
        raise ValueError(str(error)) from None
