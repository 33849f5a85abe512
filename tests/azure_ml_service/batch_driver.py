"""One scoring job of a batch endpoint: the step of its pipeline, as Azure's own driver does it.

With a scoring script, ``init()`` is called, and ``run(files)`` for each mini-batch of files; what it returns, a data
frame or a list, is added to the file of predictions. Without, each CSV or Parquet file goes to the MLflow model, and a
row is ``row,prediction,file``.
"""

import argparse
import csv
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any


def files_of(data: Path) -> list[Path]:
    """The files of a job's data, in order; those in nested folders are not looked at."""
    if data.is_file():
        return [data]
    return sorted(path for path in data.iterdir() if path.is_file())


def by_script(script: Path, model: Path) -> Any:
    """The scoring script's ``run``, after its ``init``."""
    os.environ["AZUREML_MODEL_DIR"] = str(model)
    sys.path.insert(0, str(script.parent))
    spec = importlib.util.spec_from_file_location("batch_score", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.init()
    return module.run


def by_model(folder: Path) -> Any:
    """What Azure ML runs for an MLflow model without a script."""
    import pandas as pd
    from mlflow.pyfunc import load_model

    model = load_model(str(folder))

    def run(files: Sequence[str]) -> Iterator[list[object]]:
        for file in map(Path, files):
            if file.suffix not in (".csv", ".parquet"):
                raise ValueError(f"{file.name} is neither CSV nor Parquet")
            rows = pd.read_csv(file) if file.suffix == ".csv" else pd.read_parquet(file)
            for number, prediction in enumerate(model.predict(rows)):
                yield [number, prediction, file.name]

    return run


def rows_of(result: Any) -> Iterable[Sequence[object]]:
    """What ``run`` returned, as rows of the file of predictions."""
    if hasattr(result, "itertuples"):
        return result.itertuples(index=False)
    return ([row] if isinstance(row, str | int | float) else row for row in result)


def main() -> None:
    """Score all files, in mini-batches."""
    parser = argparse.ArgumentParser()
    for name in ("model", "data", "output", "code"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--settings", type=json.loads)
    arguments = parser.parse_args()
    settings = arguments.settings
    os.environ.update(settings["variables"])
    run = (
        by_script(arguments.code / settings["script"], arguments.model) if arguments.code else by_model(arguments.model)
    )
    files, size, failed = [str(file) for file in files_of(arguments.data)], settings["mini_batch_size"], 0
    arguments.output.mkdir(parents=True, exist_ok=True)
    with (arguments.output / settings["file_name"]).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for start in range(0, len(files), size):
            batch = files[start : start + size]
            try:
                writer.writerows(list(rows_of(run(batch))))
            except Exception as error:
                failed += len(batch)
                print(f"{', '.join(batch)}: {type(error).__name__}: {error}", file=sys.stderr)
                if -1 < settings["error_threshold"] < failed:
                    raise


if __name__ == "__main__":
    main()
