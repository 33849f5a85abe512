"""Print what a model itself answers for its input example, as JSON. Runs as a process of its own: it imports MLflow.

``python -m flows.rollout.checks.model_answers FOLDER`` takes the folder of an MLflow model with an input example. What
it prints is described at :class:`flows.rollout.checks.known_rows.KnownRows`.
"""

import json
import sys
from pathlib import Path
from typing import Any

PROBABILITIES = "probabilities"


def main(folder: Path) -> None:
    """Load the model, and print its answers.

    Raises:
        Exception: Whatever the model or MLflow raises.
    """
    import mlflow.pyfunc

    model: Any = mlflow.pyfunc.load_model(str(folder.resolve()))
    example: Any = model.input_example
    if example is None or not hasattr(example, "columns"):
        print(json.dumps({"columns": []}))
        return
    params = model.metadata.signature.params if model.metadata.signature is not None else None
    gives = params is not None and PROBABILITIES in {one.name for one in params}
    rows = json.loads(example.to_json(orient="split", index=False, double_precision=15))
    labels = model.predict(example)
    probabilities = model.predict(example, params={PROBABILITIES: True}) if gives else None
    print(
        json.dumps(
            {
                "columns": rows["columns"],
                "rows": rows["data"],
                "labels": [getattr(one, "item", lambda one=one: one)() for one in labels],
                "probabilities": None if probabilities is None else [float(one) for one in probabilities],
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
