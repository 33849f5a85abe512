"""Score rows as a caller has them: the code that is saved with the model, and that the evaluation scores with too.

MLflow loads it with the model (``loader_module`` of the ``python_function`` flavour), so ``mlflow.pyfunc.load_model``,
``mlflow models serve`` and an endpoint score as the evaluation did. It imports nothing else of the project.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io

# Beyond what skops trusts by itself. Ours, never the model file's own list: a file must not vouch for itself.
TRUSTED_TYPES = ["numpy.dtype"]  # the imputers remember the type that they were fitted on
PROBABILITIES = "probabilities"
DEFAULT_THRESHOLD = 0.5


class RowError(ValueError):
    """Rows cannot be scored. The text names the columns, or the row and the column, and never quotes a value."""


class DiabetesModel:
    """A fitted binary classifier that takes rows as they are measured.

    Attributes:
        classifier: Fitted, with ``feature_names_in_``, ``classes_`` [0, 1] and ``predict_proba``.
        features: The columns that it needs.
        threshold: The probability, 0 to 1, from which a row has the label 1.
    """

    def __init__(self, classifier: Any) -> None:
        """Wrap a fitted classifier.

        Raises:
            ValueError: It does not name its features, or gives no probabilities of the labels 0 and 1.
        """
        self.classifier = classifier
        self.features = [str(name) for name in getattr(classifier, "feature_names_in_", [])]
        if not self.features:
            raise ValueError("the model does not say which columns it needs")
        if list(getattr(classifier, "classes_", [])) != [0, 1] or not hasattr(classifier, "predict_proba"):
            raise ValueError("the model gives no probabilities of the labels 0 and 1")
        self.threshold = float(getattr(classifier, "threshold", DEFAULT_THRESHOLD))

    def predict(self, rows: pd.DataFrame, params: Mapping[str, Any] | None = None) -> np.ndarray:
        """Score rows, as MLflow calls it.

        Args:
            rows: As for :meth:`probabilities`.
            params: ``{"probabilities": True}`` asks for probabilities instead of labels.

        Returns:
            Labels, 0 or 1, of shape (n_rows,), int64; or the probabilities of label 1, float64.

        Raises:
            RowError: See :meth:`probabilities`.
        """
        probabilities = self.probabilities(rows)
        if (params or {}).get(PROBABILITIES):
            return probabilities
        return (probabilities >= self.threshold).astype(np.int64)

    def probabilities(self, rows: pd.DataFrame) -> np.ndarray:
        """Give each row the probability of label 1.

        Args:
            rows: At least the features, in any order; integers, floats or text of numbers, empty where not measured.

        Returns:
            Probabilities of shape (n_rows,), 0 to 1.

        Raises:
            RowError: A feature is missing, or a cell is no finite number.
        """
        missing = [name for name in self.features if name not in rows]
        if missing:
            raise RowError(f"missing columns: {', '.join(missing)}; needed are {', '.join(self.features)}")
        numbers = pd.DataFrame({name: _numbers(rows[name], name) for name in self.features})
        if not len(numbers):
            return np.empty(0)
        return np.asarray(self.classifier.predict_proba(numbers)[:, 1], dtype=np.float64)


def load_classifier(file: Path) -> Any:
    """Read a classifier that skops has saved. Nothing is unpickled, and no code that came with it is run.

    Raises:
        skops.io.exceptions.UntrustedTypesFoundException: It holds a type that is not trusted here.
    """
    return skops.io.load(file, trusted=TRUSTED_TYPES)


def _load_pyfunc(path: str) -> DiabetesModel:  # pyright: ignore[reportUnusedFunction]  # the name that MLflow calls
    return DiabetesModel(load_classifier(Path(path)))


def _numbers(column: pd.Series, name: str) -> np.ndarray:
    """A column as float64 of shape (n_rows,), NaN where empty."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        empty = column.isna()
        numbers = pd.to_numeric(column.astype(object).where(~empty, np.nan), errors="coerce").to_numpy(dtype=np.float64)
        wrong = np.flatnonzero(np.isnan(numbers) & ~empty.to_numpy())
        if len(wrong):
            raise RowError(f"column {name}, row {wrong[0] + 1}: is no number")
    wrong = np.flatnonzero(np.isinf(numbers))
    if len(wrong):
        raise RowError(f"column {name}, row {wrong[0] + 1}: is infinite")
    return numbers
