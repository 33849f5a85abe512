"""Tables that nobody should have to read: each is a function that writes one file, by a name that says what is wrong.

``SMALL`` are made in no time; ``LARGE`` take some seconds and tens of megabytes, or unpack to gigabytes. All look
like the diabetes data as far as they can.
"""

# PyArrow ships no types.
# pyright: basic

import datetime
import decimal
import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.drift.feature_rows import FEATURES

NAMES = ["PatientID", *FEATURES, "Diabetic"]
HEADER = ",".join(NAMES)
Write = Callable[[Path], object]


def rows(count: int = 60) -> dict[str, pa.Array]:
    """Plausible columns."""
    features = {name: pa.array(np.arange(count) % 90 + 1.0) for name in FEATURES}
    features["DiabetesPedigree"] = pa.array(np.full(count, 0.5))
    features["Pregnancies"] = pa.array(np.arange(count) % 9)
    return {"PatientID": pa.array(np.arange(count)), **features, "Diabetic": pa.array(np.arange(count) % 2)}


def csv_of(count: int = 60) -> str:
    """Plausible text."""
    return "\n".join([HEADER, *(f"{at},1,85,66,29,0,26.6,0.351,31,{at % 2}" for at in range(count))]) + "\n"


def with_columns(**columns: pa.Array) -> Write:
    """Write Parquet in which these columns are others."""
    return lambda path: pq.write_table(pa.table({**rows(), **columns}), path)


def text(content: str | bytes) -> Write:
    """Write these bytes."""
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


def bytes_of_parquet() -> bytes:
    """A plausible file, with checksums of its pages."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(rows()), sink, write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def damaged(damage: Callable[[bytes], bytes]) -> Write:
    """Write a plausible Parquet file that was damaged."""
    return lambda path: path.write_bytes(damage(bytes_of_parquet()))


def _nothing_inside(kind: pa.DataType) -> pa.Array:
    return pa.array([None] * 60, kind)


def _of(value: object, kind: pa.DataType | None = None) -> pa.Array:
    return pa.array([value] * 60, kind)


COLUMNS: dict[str, pa.Array] = {
    "list": _of([1.0]),
    "large_list": _of([1.0], pa.large_list(pa.float64())),
    "fixed_list": _of([1.0, 2.0], pa.list_(pa.float64(), 2)),
    "list_of_list": _of([[1.0]]),
    "struct": _of({"value": 1.0}),
    "map": _of([("a", 1.0)], pa.map_(pa.string(), pa.float64())),
    "uint64": pa.array([2**63 + 1] * 60, pa.uint64()),
    "int64": pa.array([2**53 + 1] * 60),
    "binary": _of(b"\xff\xfe"),
    "fixed_binary": _of(b"\xff\xfe", pa.binary(2)),
    "timestamp": _of(datetime.datetime(2020, 1, 1)),
    "date": _of(datetime.date(2020, 1, 1)),
    "time": _of(datetime.time(1, 2)),
    "duration": _of(datetime.timedelta(days=1)),
    "null": pa.nulls(60),
    "dictionary": _of("a").dictionary_encode(),
    "huge": pa.array([1e308] * 60),
    "infinite": pa.array([np.inf] * 60),
    "negative": pa.array([-np.inf] * 60),
    "decimal": _of(decimal.Decimal("12345.67")),
    "decimal_beyond_float": _of(decimal.Decimal(10) ** 70, pa.decimal256(76, 2)),
    "long_text": _of("x" * 1_000_000).dictionary_encode(),
    "bad_text": pa.Array.from_buffers(pa.string(), 60, _of(b"\xff\xfe").buffers()),
    "boolean": _of(True),
    "half": pa.array(np.full(60, np.inf, np.float16)),
    "empty_list": _nothing_inside(pa.list_(pa.float64())),
}


def _duplicate(path: Path) -> None:
    columns = rows()
    pq.write_table(pa.table([*columns.values(), columns["Age"]], names=[*columns, "Age"]), path)


def _encrypted_footer(path: Path) -> None:
    content = bytes_of_parquet()
    path.write_bytes(b"PARE" + content[4:-4] + b"PARE")


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _lines(*lines: str) -> Write:
    return text("\n".join([HEADER, *lines]) + "\n")


GOOD = "1,1,85,66,29,0,26.6,0.351,31,0"

SMALL: dict[str, Write] = {
    **{f"age_{name}.parquet": with_columns(Age=array) for name, array in COLUMNS.items()},
    **{f"patient_{name}.parquet": with_columns(PatientID=array) for name, array in COLUMNS.items()},
    **{f"label_{name}.parquet": with_columns(Diabetic=array) for name, array in COLUMNS.items()},
    "duplicate.parquet": _duplicate,
    "no_rows.parquet": lambda path: pq.write_table(pa.table(rows(0)), path),
    "no_columns.parquet": lambda path: pq.write_table(pa.table({}), path),
    "one_row.parquet": lambda path: pq.write_table(pa.table(rows(1)), path),
    "other_columns.parquet": lambda path: pq.write_table(pa.table({"a": [1]}), path),
    "one_class.parquet": with_columns(Diabetic=_of(1)),
    "truncated.parquet": damaged(lambda content: content[:-100]),
    "only_magic.parquet": text(b"PAR1"),
    "magic_twice.parquet": text(b"PAR1\x00\x00\x00\x00PAR1"),
    "footer_too_long.parquet": damaged(lambda content: content[:-8] + b"\xff\xff\xff\x7fPAR1"),
    "no_footer.parquet": damaged(lambda content: content[:400]),
    "wrong_end.parquet": damaged(lambda content: content[:-4] + b"PAR2"),
    "wrong_start.parquet": damaged(lambda content: b"PAR2" + content[4:]),
    "flipped_page.parquet": damaged(lambda content: content[:60] + bytes([content[60] ^ 0xFF]) + content[61:]),
    "zeroed_pages.parquet": damaged(lambda content: content[:4] + bytes(800) + content[804:]),
    "flipped_footer.parquet": damaged(lambda content: content[:-300] + b"\xff" * 40 + content[-260:]),
    "encrypted.parquet": _encrypted_footer,
    "empty.csv": text(""),
    "header_only.csv": text(HEADER + "\n"),
    "only_line_ends.csv": text("\n" * 1000),
    "one_row.csv": text(csv_of(1)),
    "one_class.csv": _lines(*[GOOD] * 20),
    "all_missing.csv": _lines(*[",,,,,,,,,"] * 20),
    "label_missing.csv": _lines(*["1,1,85,66,29,0,26.6,0.351,31,"] * 20),
    "features_missing.csv": _lines(*["1,,,,,,,,,0", "2,,,,,,,,,1"] * 20),
    "utf16.csv": text(csv_of().encode("utf-16")),
    "utf16_without_mark.csv": text(csv_of().encode("utf-16-le")),
    "utf32.csv": text(csv_of().encode("utf-32")),
    "nul_bytes.csv": text(csv_of().replace("85", "8\0005")),
    "nul_bytes_later.csv": text(csv_of(400).encode() + b"\0" * 5000),
    "latin1_header.csv": text(csv_of().replace("BMI", "Größe", 1).encode("latin-1")),
    "latin1_cell.csv": text(csv_of(400).encode() + b"1,1,85,66,29,0,26.6,0.351,\xe4,0\n"),
    "latin1_patient.csv": text(csv_of(400).encode() + b"\xe4,1,85,66,29,0,26.6,0.351,31,0\n"),
    "latin1_ignored.csv": text(csv_of().replace("\n", ",x\n").encode().replace(b",x", b",\xe4")),
    "open_quote.csv": text(csv_of() + '"1,1,85,66,29,0,26.6,0.351,31,0\n' + csv_of()),
    "open_quote_in_header.csv": text('"' + csv_of()),
    "stray_quote.csv": text(csv_of().replace("85", '8"5', 1)),
    "ragged.csv": text(csv_of() + "1,2\n1,2,3,4,5,6,7,8,9,10,11,12\n"),
    "duplicate.csv": text(csv_of().replace("\n", ",31\n").replace(",31", ",Age", 1)),
    "semicolons.csv": text(csv_of().replace(",", ";")),
    "tabs.csv": text(csv_of().replace(",", "\t")),
    "huge_number.csv": _lines(GOOD, "1,1,1e308,66,29,0,26.6,0.351,31,1"),
    "beyond_float.csv": _lines(GOOD, "1,1,1e999,66,29,0,26.6,0.351,31,1"),
    "infinite.csv": _lines(GOOD, "1,1,inf,66,29,0,26.6,0.351,31,1", "1,1,-Infinity,66,29,0,26.6,0.351,31,1"),
    "nan.csv": _lines(GOOD, "1,1,nan,66,29,0,26.6,0.351,31,nan"),
    "large_integers.csv": _lines(GOOD, f"{2**63 + 1},{2**63},85,66,29,0,26.6,0.351,31,1"),
    "long_patients.csv": _lines(*[f"{'9' * 5000}{at},1,85,66,29,0,26.6,0.351,31,{at % 2}" for at in range(40)]),
    "digits.csv": _lines(GOOD, f"1,1,{'9' * 5000},66,29,0,26.6,0.351,31,1"),
    "dates.csv": _lines(GOOD, "1,1,85,66,29,0,26.6,0.351,2020-01-01,1"),
    "decimal_commas.csv": _lines('1,1,85,66,29,0,"26,6",0.351,31,0', '2,1,85,66,29,0,"26,6",0.351,31,1'),
    "html.csv": text("<!DOCTYPE html><html><body>Sign in</body></html>"),
    "gzip.csv.gz": lambda path: path.write_bytes(gzip.compress(csv_of().encode())),
    "plain_called_gzip.csv.gz": lambda path: path.write_bytes(csv_of().replace("31,1", "x,1", 1).encode()),
    "zip.csv": text(b"PK\x03\x04" + bytes(100)),
    "folder.csv": lambda path: path.mkdir(),
    "fifo.csv": lambda path: os.mkfifo(path),
    "loop.csv": _loop,
    "link_to_nothing.csv": lambda path: path.symlink_to(path.with_name("nothing")),
    "below_a_file.csv": lambda path: path.write_text(HEADER),
}


def _many_rows(path: Path, count: int = 20_000_000) -> None:
    """Some kilobytes that unpack to gigabytes, a few row groups of equal rows."""
    group = 1_000_000
    of_equal = {name: pa.array(np.full(group, 50.0 if name != "DiabetesPedigree" else 0.5)) for name in FEATURES}
    label = pa.array(np.arange(group) % 2)
    table = pa.table({"PatientID": pa.array(np.arange(group) % 50), **of_equal, "Diabetic": label})
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(count // group):
            writer.write_table(table)


def _many_columns(path: Path) -> None:
    """A million columns, the needed ones first."""
    more = ",".join(f"c{at}" for at in range(1_000_000))
    path.write_text(f"{HEADER},{more}\n{GOOD}{',1' * 1_000_000}\n")


def _many_columns_of_parquet(path: Path) -> None:
    columns = rows(1)
    names = [*columns, *(f"c{at}" for at in range(50_000))]
    pq.write_table(pa.table([*columns.values(), *[pa.array([1])] * 50_000], names=names), path)


def _gzip_bomb(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(f"{HEADER}\n".encode())
        for _ in range(2000):
            file.write(b"1" * 1_000_000)


def _zeros(path: Path) -> None:
    """Five gigabytes that take no room on the disk."""
    path.touch()
    os.truncate(path, 5_000_000_000)


LARGE: dict[str, Write] = {
    "long_line.csv": text(csv_of() + "1" * 50_000_000 + "\n"),
    "long_line_of_cells.csv": text(csv_of() + "1," * 25_000_000 + "\n"),
    "long_header.csv": text("x" * 50_000_000 + "\n"),
    "long_header_of_cells.csv": text(HEADER + "," + "x," * 25_000_000 + "\n"),
    "quote_that_never_ends.csv": text(csv_of() + '"' + GOOD + ("\n" + GOOD) * 1_000_000),
    "many_rows.parquet": _many_rows,
    "many_columns.csv": _many_columns,
    "many_columns.parquet": _many_columns_of_parquet,
    "gzip_bomb.csv.gz": _gzip_bomb,
    "zeros.csv": _zeros,
    "bad_cell_at_the_end.csv": text(csv_of(1) + (GOOD + "\n") * 1_000_000 + GOOD.replace("31", "old") + "\n"),
    "all_cells_bad.csv": text(csv_of(1) + "1,a,b,c,d,e,f,g,h,i\n" * 1_000_000),
}


def write_all(tables: dict[str, Write], folder: Path) -> list[Path]:
    """Write the tables into a folder."""
    for name, write in tables.items():
        write(folder / name)
    return [folder / name if name != "below_a_file.csv" else folder / name / "rows" for name in tables]
