"""Rows whose answers are known: the input example of a model, and what the model itself answers for it."""

import asyncio
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.errors import ServingError

TOLERANCE = 1e-12
MODEL_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class KnownRows:
    """Rows, and the answer of the model itself for each.

    Attributes:
        columns: Their names. Without an input example they are those of the signature, if it names any.
        rows: Of shape (n_rows, n_columns); none where the model has no input example, so that no answer is known.
        labels: Of shape (n_rows,).
        probabilities: Of label 1, of shape (n_rows,); None for a model that gives none.
    """

    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    labels: Sequence[Any] = ()
    probabilities: Sequence[float] | None = None

    @property
    def request(self) -> bytes:
        """All rows as one request, in the form that Azure ML documents. The scoring script does not collect them."""
        table = {"columns": list(self.columns), "data": [list(row) for row in self.rows]}
        return json.dumps({"input_data": table, "collect": False}).encode()

    @property
    def bad_request(self) -> bytes:
        """The first row, with a text in its first column of numbers; where none is one, with a list in its first."""
        at = next((at for at in range(len(self.columns)) if any(_is_number(row[at]) for row in self.rows)), None)
        row = list(self.rows[0])
        row[at or 0] = ["no single value"] if at is None else "no number"
        table = {"columns": list(self.columns), "data": [row]}
        return json.dumps({"input_data": table, "collect": False}).encode()

    def difference(self, body: bytes) -> str:
        """How an answer differs from the model's own, in words; empty if it does not.

        It may be that of ``serving/score/score.py``, with a label and a probability for each row, or a list of labels,
        as Azure ML's own script gives. No value is quoted.
        """
        try:
            answer: Any = json.loads(body)
        except ValueError:
            return "the answer is no JSON"
        given = answer.get("predictions", answer) if isinstance(answer, dict) else answer
        if not isinstance(given, list) or len(given) != len(self.rows):
            found = len(given) if isinstance(given, list) else "no"
            return f"{found} predictions came for {len(self.rows)} rows"
        for at, one in enumerate(given):
            label = one.get("label") if isinstance(one, dict) else one
            if not _same(label, self.labels[at]):
                return f"row {at}: the label is not the model's own"
            probability = one.get("probability") if isinstance(one, dict) else None
            if self.probabilities is None or probability is None:
                continue
            if not math.isclose(probability, self.probabilities[at], rel_tol=0, abs_tol=TOLERANCE):
                return f"row {at}: the probability is not the model's own"
        return ""


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _same(label: Any, own: Any) -> bool:
    """Whether a label is the model's own: a number to 1e-12 of it, since a regressor may run on another platform."""
    if not (_is_number(label) and _is_number(own)):
        return label == own
    both_undefined = math.isnan(label) and math.isnan(own)
    return both_undefined or math.isclose(label, own, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


async def known_rows(folder: Path, label: str, variables: Mapping[str, str]) -> KnownRows:
    """Ask a model, in a process of its own, what it answers for its input example.

    Args:
        folder: Of the MLflow model.
        label: Its name and version, for a message.
        variables: Of the deployment. Those of MLflow hold here too: a model that is not to be unpickled is not.

    Raises:
        ServingError: It cannot be loaded, or cannot score its own example.
    """
    command = (sys.executable, "-m", "flows.rollout.checks.model_answers", str(folder))
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **{name: value for name, value in variables.items() if name.startswith("MLFLOW_")}},
    )
    try:
        out, said = await asyncio.wait_for(child.communicate(), MODEL_SECONDS)
    except BaseException:
        if child.returncode is None:
            child.kill()
        raise
    if child.returncode:
        reason = (said.decode(errors="replace").strip().splitlines() or ["no reason was given"])[-1].rstrip(". ")
        raise ServingError(f"{label} cannot answer its own input example: {reason}. Nothing was deployed.")
    return KnownRows(**json.loads(out.decode().strip().splitlines()[-1]))
