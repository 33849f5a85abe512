"""Check the diabetes data, report on them, and divide the rows into a training and a test part.

No value is changed: what prepares values is part of the model, so that it scores any row as it was judged.
"""

# PyArrow has no types and makes its compute functions when it is imported.
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_file import Data, read
from data_report import count_classes, describe, summary
from diabetes_steps import LABEL, PATIENT, DataError
from splitting import SPLITS, Parameters, hash_patients, split_rows


@dataclass(frozen=True)
class Prepared:
    """The checked rows and how they are divided.

    Attributes:
        table: PatientID (if the file has it), features and label, in the order of the file.
        train: Positions in ``table`` of the training rows.
        test: Positions in ``table`` of the test rows.
        report: What was found in the data, as written to ``data_report``.
    """

    table: pa.Table
    train: np.ndarray
    test: np.ndarray
    report: dict[str, Any]


def prepare(data: Data, parameters: Parameters) -> Prepared:
    """Divide the rows and describe the result.

    Raises:
        DataError: A part would hold rows of one label only.
    """
    hashes = hash_patients(data, parameters.split_seed)
    train, test = split_rows(hashes, parameters)
    labels = data.values[LABEL].to_numpy()
    parts = {"train": train, "test": test}
    classes = {"whole": count_classes(labels), **{part: count_classes(labels[rows]) for part, rows in parts.items()}}
    for part in parts:
        if not all(classes[part].values()):
            raise DataError(
                f"the {part} part would hold {classes[part]['0']} rows of label 0 and {classes[part]['1']} of label 1; "
                "both are needed: set another test_share or split_seed, or add rows"
            )
    report = describe(data, hashes, classes)
    table = pa.Table.from_pandas(data.values.astype({LABEL: "int64"}), preserve_index=False)
    if data.patients is not None:
        table = table.add_column(0, PATIENT, data.patients)
    return Prepared(table, train, test, report)


def share(text: str) -> float:
    """Read a share, 0.05 to 0.95."""
    value = float(text)
    if not 0.05 <= value <= 0.95:
        raise argparse.ArgumentTypeError(f"{text} is outside 0.05 to 0.95")
    return value


def seed(text: str) -> int:
    """Read a seed, 0 to 4294967295, as scikit-learn takes it."""
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{text} is outside 0 to {2**32 - 1}")
    return value


def add_parameters(parser: argparse.ArgumentParser) -> None:
    """Add the options that :class:`Parameters` holds."""
    parser.add_argument("--test_share", type=share, default=Parameters.test_share)
    parser.add_argument("--split", choices=SPLITS, default=Parameters.split)
    parser.add_argument("--split_seed", type=seed, default=Parameters.split_seed)


def read_parameters(arguments: argparse.Namespace) -> Parameters:
    """Take the options of :func:`add_parameters` from parsed arguments."""
    return Parameters(arguments.test_share, arguments.split, arguments.split_seed)


def prepare_file(path: Path, parameters: Parameters) -> Prepared:
    """Read, check and divide a data file. The report also names the file and the parameters.

    Raises:
        DataError: The file cannot be used. The error names every fault.
    """
    prepared = prepare(read(path), parameters)
    with path.open("rb") as file:
        source = {"name": path.name, "sha256": file_digest(file, "sha256").hexdigest()}
    report = {"schema_version": 1, "source": source, "parameters": vars(parameters), **prepared.report}
    return Prepared(prepared.table, prepared.train, prepared.test, report)


def main(argv: list[str] | None = None) -> int:
    """Run the step with the arguments of component.yml; return the exit code, 2 for data that cannot be used."""
    parser = argparse.ArgumentParser(prog="prep", description=__doc__, allow_abbrev=False)
    parser.add_argument("--data", type=Path, required=True, help="CSV or Parquet file")
    add_parameters(parser)
    parser.add_argument("--train_data", type=Path, required=True)
    parser.add_argument("--test_data", type=Path, required=True)
    parser.add_argument("--data_report", type=Path, required=True)
    arguments = parser.parse_args(argv)
    try:
        prepared = prepare_file(arguments.data, read_parameters(arguments))
    except DataError as error:
        print(*(f"prep: {fault}" for fault in error.faults), sep="\n", file=sys.stderr)
        return 2
    pq.write_table(prepared.table.take(prepared.train), arguments.train_data)
    pq.write_table(prepared.table.take(prepared.test), arguments.test_data)
    arguments.data_report.write_text(json.dumps(prepared.report, indent=2) + "\n")
    print(summary(prepared.report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
