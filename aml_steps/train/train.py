"""Fit the classifier on the training part and save it as an MLflow model."""

from __future__ import annotations

import argparse
import sys
import warnings
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow import sklearn as mlflow_sklearn
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import diabetes_model
from diabetes_model import PROBABILITIES, TRUSTED_TYPES
from diabetes_run import log_run
from diabetes_steps import LABEL, PATIENT, ZERO_IS_MISSING, DataError, read_rows
from trained_with import KEY, trained_with

SOLVERS = ("lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga")
# What a saved model needs to be served. Given to MLflow, which would else load the model in a new process to find out.
# Azure's script for deployments without code imports azureml-ai-monitoring, which only these requirements can bring.
SERVED_BY = ("azureml-ai-monitoring", "mlflow", "pandas", "scikit-learn", "skops")
MODEL_REQUIREMENTS = [f"{package}=={version(package)}" for package in SERVED_BY]
EXAMPLE_ROWS = 5  # saved with the model as its input example


@dataclass(frozen=True)
class Parameters:
    """How the classifier is fitted.

    Attributes:
        reg_rate: Strength of the L2 regularisation, the inverse of scikit-learn's ``C``; 1e-9 or greater.
        solver: One of ``SOLVERS``.
        max_iter: Most iterations the solver may take; 1 or greater.
        zeros_as_missing: Whether a zero in a measurement of ``ZERO_IS_MISSING`` stands for "not measured".
        threshold: The probability from which a patient counts as diabetic, 0 to 1.
    """

    reg_rate: float = 0.01
    solver: str = "liblinear"
    max_iter: int = 1000
    zeros_as_missing: bool = True
    threshold: float = 0.5


@dataclass(frozen=True)
class Training:
    """A fitted classifier and how the fit went.

    Attributes:
        model: All that turns a row as it was measured into a label, fitted.
        metrics: Figures of the training part: accuracy, roc_auc, log_loss, rows; ``converged`` (0 or 1) and ``n_iter``.
        warning: The solver's warning if it did not converge, else None.
    """

    model: FixedThresholdClassifier
    metrics: dict[str, float]
    warning: str | None


def features_and_label(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Split prepared rows into features, of shape (n_rows, n_features), and labels, 0 or 1, of shape (n_rows,)."""
    return frame.drop(columns=[PATIENT, LABEL], errors="ignore"), frame[LABEL]


def fit(frame: pd.DataFrame, parameters: Parameters) -> FixedThresholdClassifier:
    """Fit imputer, scaler and classifier on these rows, and add the threshold.

    Only classes of scikit-learn are used, because skops reads these without running code from the file.

    Args:
        frame: Training rows: features (NaN where missing), label and perhaps PatientID; of shape (n_rows, n_columns).
        parameters: How to fit.

    Returns:
        The fitted classifier, which takes the features as a frame, as they were measured.
    """
    features, label = features_and_label(frame)
    pipeline = Pipeline(
        [
            ("impute", _imputer([name for name in ZERO_IS_MISSING if name in features], parameters)),
            # The imputer has made a copy already; a second one of millions of rows would take too much memory.
            ("scale", StandardScaler(copy=False)),
            (
                "classify",
                LogisticRegression(
                    C=1 / parameters.reg_rate,
                    solver=parameters.solver,
                    max_iter=parameters.max_iter,
                    random_state=0,  # for the solvers that shuffle
                ),
            ),
        ]
    )
    threshold: Any = parameters.threshold  # pyright infers text from the default, "auto"
    classifier = FixedThresholdClassifier(pipeline, threshold=threshold, response_method="predict_proba")
    return classifier.fit(features, label)


def _imputer(measurements: list[str], parameters: Parameters) -> SimpleImputer | ColumnTransformer:
    """Make the imputer: the median of what was measured replaces empty cells, and zeros that mean "not measured"."""
    median = SimpleImputer(strategy="median", keep_empty_features=True)
    if not parameters.zeros_as_missing or not measurements:
        return median
    # Empty cells become zeros first, so that one imputer finds both.
    zeros = Pipeline(
        [
            ("empty", SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True)),
            ("zero", SimpleImputer(missing_values=0.0, strategy="median", keep_empty_features=True)),
        ]
    )
    return ColumnTransformer([("measurements", zeros, measurements)], remainder=median)  # pyright: ignore[reportArgumentType]


def train(frame: pd.DataFrame, parameters: Parameters) -> Training:
    """Fit the classifier and measure it on the rows it was fitted on.

    Args:
        frame: Training rows, as for :func:`fit`.
        parameters: How to fit.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model = fit(frame, parameters)
    complaints = [warning for warning in caught if issubclass(warning.category, ConvergenceWarning)]
    for warning in caught:
        if warning not in complaints:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    features, label = features_and_label(frame)
    probability = model.predict_proba(features)[:, 1]
    metrics = {
        "training_accuracy": float(accuracy_score(label, probability >= parameters.threshold)),
        "training_roc_auc": float(roc_auc_score(label, probability)),
        "training_log_loss": float(log_loss(label, probability)),
        "training_rows": float(len(frame)),
        "converged": float(not complaints),
        "n_iter": float(model.estimator_.named_steps["classify"].n_iter_.max()),
    }
    return Training(model, metrics, str(complaints[0].message).splitlines()[0] if complaints else None)


def save(model: FixedThresholdClassifier, rows: pd.DataFrame, path: Path) -> None:
    """Save a fitted classifier as an MLflow model in the skops format, which is read without unpickling.

    ``mlflow.sklearn`` gives the classifier back. ``mlflow.pyfunc`` scores by :mod:`diabetes_model`, which is saved with
    the model and takes rows as a caller has them. Its metadata say what it was trained with.

    Args:
        model: The fitted classifier.
        rows: Prepared rows, the first few of which are kept with the model as its input example.
        path: A folder that is empty or does not exist.
    """
    example = features_and_label(rows)[0].head(EXAMPLE_ROWS)
    # Any type: for a column of doubles MLflow would refuse the integers that pandas reads from a CSV file. Not inferred
    # from the example, where a column that misses a value would become optional.
    signature = ModelSignature(
        inputs=Schema([ColSpec(AnyType(), str(name)) for name in example]),
        outputs=Schema([TensorSpec(np.dtype("int64"), (-1,))]),
        params=ParamSchema([ParamSpec(PROBABILITIES, DataType.boolean, default=False)]),
    )
    mlflow_sklearn.save_model(
        model,
        path,
        signature=signature,
        input_example=example,
        pip_requirements=MODEL_REQUIREMENTS,
        serialization_format="skops",
        skops_trusted_types=TRUSTED_TYPES,
        code_paths=[str(diabetes_model.__file__)],
        metadata={KEY: trained_with()},
    )
    description = Model.load(path)
    flavour = description.flavors["python_function"]
    flavour |= {"loader_module": diabetes_model.__name__, "data": flavour.pop("model_path")}
    del flavour["predict_fn"]
    description.save(path / "MLmodel")


def run_tags() -> dict[str, str]:
    """The tags of the MLflow run, which are those of the job on Azure ML too: what the model is trained with."""
    return {f"tandem.{name}": text for name, text in trained_with().items()}


def positive_rate(text: str) -> float:
    """Read a regularisation rate of 1e-9 or greater."""
    value = float(text)
    if not 1e-9 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number of 1e-9 or greater")
    return value


def iterations(text: str) -> int:
    """Read a number of iterations, 1 or greater."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def probability(text: str) -> float:
    """Read a probability, 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is outside 0 to 1")
    return value


def boolean(text: str) -> bool:
    """Read a boolean as Azure ML writes it into a command: ``True`` or ``False``."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def add_parameters(parser: argparse.ArgumentParser) -> None:
    """Add the options that :class:`Parameters` holds."""
    parser.add_argument("--reg_rate", type=positive_rate, default=Parameters.reg_rate)
    parser.add_argument("--solver", choices=SOLVERS, default=Parameters.solver)
    parser.add_argument("--max_iter", type=iterations, default=Parameters.max_iter)
    parser.add_argument("--zeros_as_missing", type=boolean, default=Parameters.zeros_as_missing)
    parser.add_argument("--threshold", type=probability, default=Parameters.threshold)


def read_parameters(arguments: argparse.Namespace) -> Parameters:
    """Take the options of :func:`add_parameters` from parsed arguments."""
    return Parameters(
        arguments.reg_rate, arguments.solver, arguments.max_iter, arguments.zeros_as_missing, arguments.threshold
    )


def summary(training: Training) -> str:
    """Write the training figures as a few aligned lines."""
    lines = [f"{name:<18}{value:>12,.10g}" for name, value in training.metrics.items()]
    return "\n".join([*lines, *([f"warning: {training.warning}"] if training.warning else [])])


def main(argv: list[str] | None = None) -> int:
    """Run the step with the arguments of component.yml; return the exit code, 2 for rows that it cannot use."""
    parser = argparse.ArgumentParser(prog="train", description=__doc__, allow_abbrev=False)
    parser.add_argument("--train_data", type=Path, required=True, help="Parquet, as prep writes it")
    add_parameters(parser)
    parser.add_argument("--model", type=Path, required=True, help="empty folder for the MLflow model")
    arguments = parser.parse_args(argv)
    parameters = read_parameters(arguments)
    try:
        frame = read_rows(arguments.train_data)
        if frame[LABEL].nunique() < 2:
            raise DataError(f"{arguments.train_data}, column {LABEL}: both labels are needed, and only one is there")
        if len(frame.columns) == 1:
            raise DataError(f"{arguments.train_data} has no column but {LABEL}")
    except DataError as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    training = train(frame, parameters)
    save(training.model, frame, arguments.model)
    print(summary(training))
    log_run(asdict(parameters), training.metrics, run_tags())
    return 0


if __name__ == "__main__":
    sys.exit(main())
