"""Print what a model itself answers for its input example, as JSON. Runs as a process of its own: it imports MLflow.

``python -m flows.rollout.checks.model_answers FOLDER`` takes the folder of an MLflow model. What it prints is described
at :class:`flows.rollout.checks.known_rows.KnownRows`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

PROBABILITIES = "probabilities"


def main(folder: Path) -> None:
    """Load the model, and print its answers.

    Raises:
        SystemExit: It cannot be loaded or asked, with the reason in one line.
    """
    import mlflow.pyfunc

    try:
        model: Any = mlflow.pyfunc.load_model(str(folder.resolve()))
        print(json.dumps(_answers(model)))
    except Exception as error:  # its text may have lines of any number, and the last of them says least
        raise SystemExit(f"{type(error).__name__}: {' '.join(str(error).split())}") from None


def _answers(model: Any) -> dict[str, Any]:
    example: Any = model.input_example
    signature: Any = model.metadata.signature
    if example is None or not hasattr(example, "columns"):
        inputs = None if signature is None else signature.inputs
        return {"columns": inputs.input_names() if inputs is not None and inputs.has_input_names() else []}
    params = signature.params if signature is not None else None
    gives = params is not None and PROBABILITIES in {one.name for one in params}
    rows = json.loads(example.to_json(orient="split", index=False, double_precision=15, date_format="iso"))
    labels = np.asarray(model.predict(example))
    if labels.size != len(example):
        raise ValueError(f"it gives {labels.size} values for {len(example)} rows, and one for each is served")
    probabilities = model.predict(example, params={PROBABILITIES: True}) if gives else None
    return {
        "columns": rows["columns"],
        "rows": rows["data"],
        "labels": labels.reshape(len(example)).tolist(),
        "probabilities": None if probabilities is None else [float(one) for one in probabilities],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
