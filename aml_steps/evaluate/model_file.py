"""Reader of saved models, and their probabilities for the test rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from skops.io.exceptions import UntrustedTypesFoundException

from diabetes_model import DiabetesModel, load_classifier
from diabetes_steps import in_one_line

TRAINED_WITH = {"python", "platform", "packages"}


class ModelError(ValueError):
    """A model cannot be used: loading it is not safe, or it does not fit the test rows."""


def load_model(folder: Path) -> DiabetesModel:
    """Load a model from its folder, without unpickling anything or running code that came with it.

    It scores by this step's own copy of the code that :mod:`diabetes_model` saves with a model, so a model is judged as
    ``mlflow.pyfunc`` scores with it, whoever has registered it.

    Args:
        folder: The model's folder, with its ``MLmodel`` file.

    Raises:
        ModelError: It is no model of the sklearn flavour, is stored in another format than skops, holds a type that is
            not trusted, or gives no probabilities of the labels 0 and 1.
    """
    try:
        flavour = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))["flavors"]["sklearn"]
        file, stored_as = folder / flavour["pickled_model"], flavour.get("serialization_format")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ModelError(f"{folder} is not an MLflow model of the sklearn flavour ({error})") from error
    if stored_as != "skops":
        raise ModelError(
            f"{folder} is stored as {stored_as}, and loading that can run any code: "
            "save it again with serialization_format='skops'"
        )
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"{folder} points to a file outside of it: {flavour['pickled_model']}")
    try:
        classifier = load_classifier(file)
    except UntrustedTypesFoundException as error:
        raise ModelError(f"{folder} holds types that are not trusted: {error}") from error
    except Exception as error:  # a damaged archive raises any error of zipfile, json and skops
        raise ModelError(f"{folder} cannot be loaded: {type(error).__name__}: {error}") from error
    try:
        return DiabetesModel(classifier)
    except ValueError as error:
        raise ModelError(f"{folder}: {error}") from error


def trained_with(folder: Path) -> dict[str, str] | None:
    """Read what a model was trained with (``python``, ``platform``, ``packages``); None where it does not say so."""
    metadata = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8")).get("metadata")
    told = metadata.get("trained_with") if isinstance(metadata, dict) else None
    if not isinstance(told, dict) or not told.keys() >= TRAINED_WITH:
        return None
    return {name: str(told[name]) for name in sorted(TRAINED_WITH)}


def score(model: DiabetesModel, rows: pd.DataFrame) -> np.ndarray:
    """Compute the probability of diabetes for each row.

    Args:
        model: The model.
        rows: Test rows as they were measured, with at least the model's features.

    Returns:
        Probabilities of shape (n_rows,), 0 to 1.

    Raises:
        ModelError: The model needs columns that the rows lack, or gives a row no probability of label 1.
    """
    try:
        with np.errstate(all="ignore"):  # the probabilities are checked below
            probability = model.probabilities(rows)
    except (ValueError, ArithmeticError) as error:
        raise ModelError(f"cannot score the test rows: {in_one_line(error)}") from error
    if len(wrong := np.flatnonzero(~((probability >= 0) & (probability <= 1)))):
        raise ModelError(f"gives the test row {wrong[0] + 1} the probability {probability[wrong[0]]}")
    return probability
