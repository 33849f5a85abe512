"""What a person may set: one validated model a flow, which makes Prefect's form and the flags of the commands alike."""

import difflib
import functools
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from flows.data_assets import is_path
from flows.engines.polling import Patience
from flows.errors import ParameterError
from flows.gate import GatePolicy
from flows.model_registry import check_model_name

EngineName = Literal["auto", "local", "azureml"]
Solver = Literal["lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"]
Text = Annotated[str, Field(min_length=1, max_length=255)]


class TrainingParameters(BaseModel):
    """What both flows take."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    environment_name: Text = Field("diabetes-classify", description="Azure ML environment that the steps run in.")
    compute_name: Text = Field("cpu-cluster-01", description="Azure ML compute target. The local engine ignores it.")
    data_asset_name: Text = Field(
        "diabetes-diagnostics",
        description="Data asset (NAME, NAME:VERSION or NAME@latest), or a path to a CSV or Parquet file.",
    )
    reg_rate: float = Field(
        0.01, gt=0, le=1e9, allow_inf_nan=False, description="Regularization rate, the inverse of scikit-learn's C."
    )
    solver: Solver = Field("lbfgs", description="Algorithm that fits the logistic regression.")
    max_iter: int = Field(1000, ge=1, le=1_000_000, description="Most iterations that the solver may take.")
    test_share: float = Field(
        0.3, ge=0.05, le=0.95, description="Share of the patients (or rows) that are kept for the evaluation."
    )
    split: Literal["patient", "random"] = Field(
        "patient",
        description="Split by a hash of PatientID, so that no patient is ever on both sides; or by random rows.",
    )
    split_seed: int = Field(0, ge=0, le=2**32 - 1, description="Draws another split, of either kind.")
    zeros_as_missing: bool = Field(True, description="Take a zero in the five measurement columns as not measured.")
    threshold: float = Field(0.5, ge=0, le=1, description="Probability from which a patient counts as diabetic.")
    engine: EngineName = Field(
        "auto", description="Where it runs: auto takes Azure ML if the workspace's variables are set, else local."
    )
    queue_timeout_seconds: float | None = Field(
        None, gt=0, description="Azure ML only: cancel the job if it waits longer than this for a machine."
    )
    run_timeout_seconds: float | None = Field(
        None, gt=0, description="Azure ML only: cancel the job if it runs longer than this; waiting does not count."
    )
    max_resubmissions: int = Field(
        1,
        ge=0,
        le=20,
        description="Azure ML only: how often to submit the job again if machines fail it (preemption, a lost node).",
    )
    force_rerun: bool = Field(False, description="Run every step, even if nothing it depends on has changed.")

    @property
    def patience(self) -> Patience:
        """How long to wait for a job."""
        return Patience(self.queue_timeout_seconds, self.run_timeout_seconds)

    @field_validator("data_asset_name")
    @classmethod
    def _data_asset_is_named(cls, value: str) -> str:
        if not is_path(value) and not value.removeprefix("azureml:").strip(":@"):
            raise ValueError("name a data asset or a file")
        return value


def _model_name(value: str) -> str:
    _checked(check_model_name, value)
    return value


class PipelineParameters(TrainingParameters):
    """What the pipeline flow takes."""

    pipeline: Text = Field("diabetes-training-pipeline", description="Display name of the pipeline job.")
    experiment_name: Text = Field("diabetes-classification", description="Experiment that the runs are listed under.")
    model_name: Text = Field("diabetes-predict", description="Registered model that may get a new version.")
    solver: Solver = Field("liblinear", description="Algorithm that fits the logistic regression.")
    gate_metric: str = Field("roc_auc", description="Metric that decides whether the challenger is registered.")
    gate_floor: float = Field(0.75, description="Worst acceptable value of that metric.")
    gate_min_improvement: float = Field(0.001, description="By how much the challenger must beat the champion.")
    evaluation_output: Text = Field("outputs/evaluation", description="Folder that the evaluation is copied to.")

    _valid_model_name = field_validator("model_name")(_model_name)

    @property
    def gate(self) -> GatePolicy:
        """The gate's policy."""
        return GatePolicy(self.gate_metric, self.gate_floor, self.gate_min_improvement)

    def model_post_init(self, context: Any, /) -> None:
        """Check the gate's three values against each other."""
        _checked(lambda _: self.gate, None)


class JobParameters(TrainingParameters):
    """What the job flow takes."""

    experiment_name: Text = Field("diabetes-classify", description="Experiment that the runs are listed under.")
    model_name: Text = Field("diabetes-model-predict", description="Registered model that gets a new version.")
    evaluation_output: Text = Field("outputs/train-job", description="Folder that model and evaluation are copied to.")

    _valid_model_name = field_validator("model_name")(_model_name)


P = TypeVar("P", bound=BaseModel)
R = TypeVar("R")


def taking(model: type[P]) -> Callable[[Callable[[P], Awaitable[R]]], Callable[..., Awaitable[R]]]:
    """Let a flow's function take the fields of ``model`` as its own parameters, with their docs, ranges and defaults.

    Prefect reads a flow's form from its signature and docstring; the model stays the only place that says them.
    """

    def decorate(function: Callable[[P], Awaitable[R]]) -> Callable[..., Awaitable[R]]:
        @functools.wraps(function)
        async def flat(**values: Any) -> R:
            return await function(model(**values))

        parameters = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty
                if field.is_required()
                else field.get_default(call_default_factory=True),
                annotation=Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation,
            )
            for name, field in model.model_fields.items()
        ]
        arguments = "\n".join(f"    {name}: {field.description}" for name, field in model.model_fields.items())
        flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
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
        raise ParameterError("\n".join(_sentence(model, fault) for fault in error.errors())) from None


def _sentence(model: type[BaseModel], fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    given = fault.get("input")
    if fault["type"] == "extra_forbidden":
        return f"{where}: there is no such parameter.{_nearest(where, model.model_fields)}"
    if fault["type"] == "value_error":
        return f"{where}: {fault['ctx']['error']}" if where else str(fault["ctx"]["error"])
    message = fault["msg"][0].lower() + fault["msg"][1:]
    choices = [str(value) for value in get_args(model.model_fields[where].annotation)] if fault["loc"] else []
    hint = _nearest(str(given), choices) if fault["type"] == "literal_error" else ""
    return f"{where}: {message}, not {given!r}.{hint}"


def _nearest(word: str, known: "Sequence[str] | Any") -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    return f" Did you mean {near[0]}?" if near else ""


def _checked(check: Callable[[Any], object], value: Any) -> None:
    """Turn our own error into the one that pydantic collects."""
    try:
        check(value)
    except ParameterError as error:
        raise ValueError(str(error)) from None
