"""Check the diabetes data, mark what was not measured, and divide the rows into a training and a test part.

The patient split hashes each PatientID to a number in [0, 1) and tests the patients below ``test_share``. Whether a
patient is tested therefore depends on nothing but the id, the seed and the share: all rows of a patient stand on one
side, new data moves nobody, and a larger share only ever adds patients to the test part. The hash is SHA-256 of the
text ``<seed>:<id>``, which is the same on every machine and in every version, and can be recomputed in SQL or Spark.
"""

# PyArrow has no types and makes its compute functions when it is imported.
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import argparse
import csv
import difflib
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa_schema
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

PATIENT = "PatientID"
LABEL = "Diabetic"
# Wide enough for any living person, narrow enough to catch a wrong unit or a shifted column.
RANGES: dict[str, tuple[float, float]] = {
    "Pregnancies": (0, 30),
    "PlasmaGlucose": (0, 1000),  # mg/dL
    "DiastolicBloodPressure": (0, 300),  # mm Hg
    "TricepsThickness": (0, 200),  # mm
    "SerumInsulin": (0, 3000),  # mu U/mL
    "BMI": (0, 200),  # kg/m2
    "DiabetesPedigree": (0, 10),
    "Age": (0, 130),  # years
}
FEATURES = list(RANGES)
ZERO_IS_MISSING = ["PlasmaGlucose", "DiastolicBloodPressure", "TricepsThickness", "SerumInsulin", "BMI"]
NUMBERS = [*FEATURES, LABEL]
COLUMNS = [PATIENT, *NUMBERS]
SPLITS = ("patient", "random")
ROWS_NAMED = 5


class DataError(ValueError):
    """The data cannot be used.

    Attributes:
        faults: One sentence for each fault, all that were found.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class Parameters:
    """How rows are prepared and divided.

    Attributes:
        test_share: Share of the patients (or rows) that go to the test part, 0.05 to 0.95.
        split: ``patient`` keeps a patient's rows together, ``random`` divides rows as ``train_test_split`` does.
        split_seed: Draws another split, of either kind; 0 or greater.
        zeros_as_missing: Whether a zero in a physiological measurement stands for "not measured".
    """

    test_share: float = 0.3
    split: str = "patient"
    split_seed: int = 0
    zeros_as_missing: bool = True


@dataclass(frozen=True)
class Data:
    """The rows of a data file, before anything is changed.

    Attributes:
        patients: Canonical PatientIDs, text of shape (n_rows,), null where empty; None when the file has no ids.
        values: Features and label, of shape (n_rows, 9), float64; missing cells are NaN.
        ignored: Columns of the file that are not ours.
    """

    patients: pa.ChunkedArray | None
    values: pd.DataFrame
    ignored: list[str]


@dataclass(frozen=True)
class Prepared:
    """The two parts, as row positions in ``table``.

    Attributes:
        table: PatientID (if the file has it), features and label, in file order.
        train: Row positions of the training part.
        test: Row positions of the test part.
        report: What was found, as written to ``data_report``.
    """

    table: pa.Table
    train: np.ndarray
    test: np.ndarray
    report: dict[str, Any]


# --- reading ---------------------------------------------------------------------------------------------------------


def read(path: Path) -> Data:
    """Read a CSV or Parquet file, told apart by content, and check every cell.

    Raises:
        DataError: Naming every fault that was found.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if not start:
        raise DataError(f"{path.name} is empty")
    if start.startswith(b"PAR1"):
        header, table = _read_parquet(path)
    elif b"\0" in start:
        raise DataError(f"{path.name} is neither CSV in UTF-8 nor Parquet")
    else:
        header, table = _read_csv(path)
    if table.num_rows == 0:
        raise DataError(f"{path.name} has a header but no rows")
    patients = _canonical_ids(table[PATIENT]) if PATIENT in header else None
    values = table.select(NUMBERS).to_pandas(split_blocks=True, self_destruct=True)
    del table
    return Data(patients, check_cells(values), [column for column in header if column not in COLUMNS])


def _read_parquet(path: Path) -> tuple[list[str], pa.Table]:
    try:
        header = pq.read_schema(path).names
        check_columns(header)
        table = pq.read_table(path, columns=[column for column in header if column in COLUMNS])
    except pa.ArrowInvalid as error:
        raise DataError(f"{path.name} starts as Parquet but cannot be read: {error}") from error
    for position, field in enumerate(table.schema):
        # Numbers of any width become float64; anything else becomes text, for the cell check to name.
        numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_boolean(field.type)
        if field.name != PATIENT:
            cast = table[field.name].cast(pa.float64() if numeric else pa.string())
            table = table.set_column(position, field.name, cast)
    return header, table


def _read_csv(path: Path) -> tuple[list[str], pa.Table]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            header = next(lines, [])
            has_rows = next(lines, None) is not None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name} is neither CSV in UTF-8 nor Parquet") from error
    check_columns(header)
    if not has_rows:
        raise DataError(f"{path.name} has a header but no rows")
    types = {column: pa.string() if column == PATIENT else pa.float64() for column in header if column in COLUMNS}
    try:
        return header, _parse_csv(path, types)
    except pa.ArrowInvalid:
        # Arrow stops at the first cell that is no number; as text, all of them can be found and named.
        try:
            return header, _parse_csv(path, dict.fromkeys(types, pa.string()))
        except pa.ArrowInvalid as error:
            raise DataError(f"{path.name} cannot be read as CSV: {error}") from error


def _parse_csv(path: Path, types: dict[str, pa.DataType]) -> pa.Table:
    uneven: list[Any] = []

    def note(row: Any) -> str:
        uneven.append(row)
        return "skip"

    def parse(threads: bool) -> pa.Table:
        return pa_csv.read_csv(
            path,
            read_options=pa_csv.ReadOptions(use_threads=threads),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note),
            convert_options=pa_csv.ConvertOptions(
                column_types=types, include_columns=list(types), strings_can_be_null=True
            ),
        )

    table = parse(threads=True)
    if not uneven:
        return table
    # Arrow knows the rows' numbers only when it reads in a single thread; it counts the header as the first.
    uneven.clear()
    parse(threads=False)
    first = ", ".join(f"{row.number - 1} ({row.actual_columns} cells)" for row in uneven[:ROWS_NAMED])
    more = f" and {len(uneven) - ROWS_NAMED} more" if len(uneven) > ROWS_NAMED else ""
    raise DataError(f"row{'s' * (len(uneven) > 1)} {first}{more}: must have {uneven[0].expected_columns} cells")


def check_columns(header: list[str]) -> None:
    """Check that the needed columns are there, each once; PatientID may be absent but not misspelt.

    Raises:
        DataError: Naming each missing column and the nearest one that is there.
    """
    others = [column for column in header if column not in COLUMNS]
    if len(others) == len(header):
        hint = "; the cells seem to be separated by ';'" if any(";" in column for column in header) else ""
        raise DataError(f"not the diabetes data: no column of {', '.join(COLUMNS)}{hint}")
    counts = {column: header.count(column) for column in COLUMNS}
    faults = [f"column {column!r} occurs {count} times" for column, count in counts.items() if count > 1]
    for column in COLUMNS:
        # An absent PatientID is allowed, so only a close resemblance counts as a misspelling of it.
        near = _nearest(column, others, cutoff=0.8 if column == PATIENT else 0.5)
        if column not in header and (near or column != PATIENT):
            meant = f"the nearest present is {near!r}" if near else f"present are {', '.join(header)}"
            faults.append(f"column {column!r} is missing; {meant}")
    if faults:
        raise DataError(*faults)


def _nearest(name: str, candidates: list[str], cutoff: float) -> str | None:
    plain = {candidate.casefold().strip().replace("_", "").replace(" ", ""): candidate for candidate in candidates}
    return next((plain[match] for match in difflib.get_close_matches(name.casefold(), plain, 1, cutoff)), None)


# --- checking --------------------------------------------------------------------------------------------------------


def _numbers(column: pd.Series) -> pd.Series:
    return pd.to_numeric(column, errors="coerce")


def _within(low: float, high: float) -> pa_schema.Check:
    # Negated, so that a cell that is no number breaks one rule only.
    return pa_schema.Check(
        lambda column: ~(_numbers(column) < low) & ~(_numbers(column) > high), error=f"must be {low} to {high}"
    )


CELLS = pa_schema.DataFrameSchema(
    {
        **{
            feature: pa_schema.Column(
                nullable=True,
                checks=[
                    pa_schema.Check(lambda column: _numbers(column).notna(), error="must be a number"),
                    _within(low, high),
                ],
            )
            for feature, (low, high) in RANGES.items()
        },
        LABEL: pa_schema.Column(
            nullable=True,
            checks=pa_schema.Check(
                lambda column: _numbers(column).isin([0, 1]), error="must be 0 or 1", ignore_na=False
            ),
        ),
    }
)


def check_cells(values: pd.DataFrame) -> pd.DataFrame:
    """Check types, ranges and labels of all cells.

    Args:
        values: Features and label, of shape (n_rows, 9), each column either float64 or text.

    Returns:
        The same values as float64.

    Raises:
        DataError: One fault for each column and rule, with the first rows and how many break it.
    """
    try:
        CELLS.validate(values, lazy=True, inplace=True)
    except pa_schema.errors.SchemaErrors as error:
        cases = error.failure_cases.sort_values("index", kind="stable")
        groups = cases.groupby(["column", "check"], sort=False)
        raise DataError(*(_fault(column, rule, group) for (column, rule), group in groups)) from None
    texts = values.select_dtypes("object")
    values = values.assign(**texts.apply(_numbers)) if len(texts.columns) else values
    if values[LABEL].nunique() == 1:
        raise DataError(f"column {LABEL}: every row has the label {values[LABEL].iloc[0]:.0f}; both are needed")
    return values


def _fault(column: str, rule: str, cases: pd.DataFrame) -> str:
    named = cases.head(ROWS_NAMED)
    cells = ["empty" if pd.isna(cell) else repr(cell) for cell in named["failure_case"]]
    rows = ", ".join(f"{int(row) + 1} ({cell})" for row, cell in zip(named["index"], cells, strict=True))
    more = f" and {len(cases) - len(named)} more" if len(cases) > len(named) else ""
    return f"column {column}, row{'s' * (len(cases) > 1)} {rows}{more}: {rule}"


# --- dividing --------------------------------------------------------------------------------------------------------


def _canonical_ids(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Write whole numbers in their shortest form: 7, 7.0 and "007" are one patient, however the file stores them."""
    try:
        return ids.cast(pa.int64()).cast(pa.string())
    except pa.ArrowInvalid:  # some id is no whole number
        trimmed = pc.utf8_trim_whitespace(ids.cast(pa.string()))
        return pc.replace_substring_regex(trimmed, r"^(-?)0*([0-9]+?)(\.0*)?$", r"\1\2")


def hash_keys(keys: Iterable[bytes], count: int, seed: int) -> np.ndarray:
    """Hash keys to evenly spread numbers: the first eight bytes, big-endian, of SHA-256 of ``<seed>:<key>``.

    Args:
        keys: The keys.
        count: How many there are.
        seed: Gives other numbers; 0 or greater.

    Returns:
        Numbers of shape (count,), uint64.
    """
    prefix = f"{seed}:".encode()
    # Eight bytes a key go straight into the array: no list of ten million Python objects.
    digests = np.fromiter((sha256(prefix + key).digest()[:8] for key in keys), dtype="S8", count=count)
    return digests.view(">u8").astype(np.uint64)


def hash_patients(data: Data, seed: int) -> np.ndarray:
    """Hash each row's PatientID, or the row's content where there is none, to numbers of shape (n_rows,), uint64."""
    count = len(data.values)
    if data.patients is None:
        return hash_keys(_row_bytes(data.values), count, seed)
    hashes = hash_keys(_id_bytes(data.patients), count, seed)
    anonymous = np.flatnonzero(data.patients.is_null().to_numpy())
    if len(anonymous):
        hashes[anonymous] = hash_keys(_row_bytes(data.values.iloc[anonymous]), len(anonymous), seed)
    return hashes


def _id_bytes(ids: pa.ChunkedArray) -> Iterator[bytes]:
    for start in range(0, len(ids), 1 << 18):
        yield from (text.encode() for text in ids.slice(start, 1 << 18).fill_null("").to_pylist())


def _row_bytes(values: pd.DataFrame) -> Iterator[bytes]:
    for start in range(0, len(values), 1 << 18):
        # Adding zero turns -0.0 into 0.0, and every NaN gets the same bits, so that equal rows have equal bytes.
        block = values.iloc[start : start + (1 << 18)].to_numpy(dtype="<f8") + 0.0
        block[np.isnan(block)] = np.nan
        yield from (row.tobytes() for row in block)


def split_rows(hashes: np.ndarray, parameters: Parameters) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows into a training and a test part.

    Args:
        hashes: A hash for each row, equal for rows that must stay together; of shape (n_rows,), uint64.
        parameters: How to divide.

    Returns:
        Row positions of the training part and of the test part.
    """
    if parameters.split == "random":
        # Imported here because it takes longer than all the rest of this step.
        from sklearn.model_selection import train_test_split

        rows = np.arange(len(hashes))
        train, test = train_test_split(rows, test_size=parameters.test_share, random_state=parameters.split_seed)
        return np.asarray(train), np.asarray(test)
    tested = (hashes >> np.uint64(11)) * 2.0**-53 < parameters.test_share
    return np.flatnonzero(~tested), np.flatnonzero(tested)


def prepare(data: Data, parameters: Parameters) -> Prepared:
    """Mark what was not measured, divide the rows and describe the result.

    Raises:
        DataError: When a part would hold one class only.
    """
    hashes = hash_patients(data, parameters.split_seed)
    train, test = split_rows(hashes, parameters)
    labels = data.values[LABEL].to_numpy()
    balance = {name: _classes(labels[rows]) for name, rows in (("train", train), ("test", test))}
    for name, classes in balance.items():
        if not all(classes.values()):
            raise DataError(
                f"the {name} part would hold {classes['0']} rows of label 0 and {classes['1']} of label 1; "
                "both are needed: set another test_share or split_seed, or bring more rows"
            )
    # Counted before zeros become NaN, and by hash: comparing ten million whole rows would take minutes.
    contents = pd.util.hash_pandas_object(data.values, index=False).to_numpy() ^ hashes
    repeated = len(contents) - _distinct(contents)
    values = data.values
    if parameters.zeros_as_missing:
        values = values.assign(**{column: values[column].replace(0, np.nan) for column in ZERO_IS_MISSING})
    report = {
        "rows": {"whole": len(values), "train": len(train), "test": len(test)},
        "patients": _distinct(hashes),
        "repeated_rows": repeated,
        "ignored_columns": data.ignored,
        "patient_column": data.patients is not None,
        "missing": {column: int(count) for column, count in values[FEATURES].isna().sum().items()},
        "classes": {"whole": _classes(labels), **balance},
        "columns": _summary(values[NUMBERS]),
    }
    table = pa.Table.from_pandas(values.astype({LABEL: "int64"}), preserve_index=False)
    if data.patients is not None:
        table = table.add_column(0, PATIENT, data.patients)
    return Prepared(table, train, test, report)


def _distinct(hashes: np.ndarray) -> int:
    ordered = np.sort(hashes)  # many times faster than numpy.unique for millions of them
    return int(1 + np.count_nonzero(ordered[1:] != ordered[:-1]))


def _classes(labels: np.ndarray) -> dict[str, int]:
    ones = int(labels.sum())
    return {"0": len(labels) - ones, "1": ones}


def _summary(values: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    # A column at a time: describing all at once takes twice the memory of the data.
    described = {column: values[column].describe().drop("count") for column in NUMBERS}
    return {
        column: {str(name): None if np.isnan(value) else float(value) for name, value in figures.items()}
        for column, figures in described.items()
    }


# --- the step --------------------------------------------------------------------------------------------------------


def boolean(text: str) -> bool:
    """Read a boolean as Azure ML writes it into a command: ``True`` or ``False``."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def share(text: str) -> float:
    """Read a share of 0.05 to 0.95."""
    value = float(text)
    if not 0.05 <= value <= 0.95:
        raise argparse.ArgumentTypeError(f"{text} is outside 0.05 to 0.95")
    return value


def seed(text: str) -> int:
    """Read a seed, which scikit-learn wants within 0 to 4294967295."""
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{text} is outside 0 to {2**32 - 1}")
    return value


def add_parameters(parser: argparse.ArgumentParser) -> None:
    """Add the options that :class:`Parameters` holds."""
    parser.add_argument("--test_share", type=share, default=Parameters.test_share)
    parser.add_argument("--split", choices=SPLITS, default=Parameters.split)
    parser.add_argument("--split_seed", type=seed, default=Parameters.split_seed)
    parser.add_argument("--zeros_as_missing", type=boolean, default=Parameters.zeros_as_missing)


def read_parameters(arguments: argparse.Namespace) -> Parameters:
    """Take the options of :func:`add_parameters` from parsed arguments."""
    return Parameters(arguments.test_share, arguments.split, arguments.split_seed, arguments.zeros_as_missing)


def prepare_file(path: Path, parameters: Parameters) -> Prepared:
    """Read, check and divide a data file; the report then also says which file it was.

    Raises:
        DataError: When the file cannot be used, naming every fault.
    """
    prepared = prepare(read(path), parameters)
    with path.open("rb") as file:
        source = {"name": path.name, "sha256": file_digest(file, "sha256").hexdigest()}
    report = {"schema_version": 1, "source": source, "parameters": vars(parameters), **prepared.report}
    return Prepared(prepared.table, prepared.train, prepared.test, report)


def summary(report: dict[str, Any]) -> str:
    """Write the report's main figures as a few aligned lines."""
    rows, classes = report["rows"], report["classes"]
    lines = [f"{report['source']['name']}: {report['patients']:,} patients, {report['repeated_rows']:,} repeated rows"]
    lines += [
        f"  {part:<6}{rows[part]:>12,} rows{classes[part]['1'] / rows[part]:>8.1%} diabetic"
        for part in ("whole", "train", "test")
    ]
    missing = {column: count for column, count in report["missing"].items() if count}
    width = max(map(len, missing), default=0)
    lines += [f"  {c:<{width}}{count:>12,} missing{count / rows['whole']:>8.1%}" for c, count in missing.items()]
    if report["ignored_columns"]:
        lines.append(f"  ignored columns: {', '.join(report['ignored_columns'])}")
    if not report["patient_column"]:
        lines.append(f"  no column {PATIENT}: each row's content stands for its patient")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Prepare a file; the arguments are those of component.yml."""
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
