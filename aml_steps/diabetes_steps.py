"""What several steps need: names of columns, the reader of prepared rows, and pictures.

Each component names this file under ``additional_includes``, and so it lies beside the step's script wherever the step
runs. A change here runs every step again: what only one step needs belongs in the folder of that step.
"""

# PyArrow has no types.
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import base64
import io
import math
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:  # prep and train draw nothing
    from matplotlib.figure import Figure

PATIENT = "PatientID"
LABEL = "Diabetic"
# Measurements that nobody alive can have as zero: where the file has a zero, nothing was measured.
ZERO_IS_MISSING = ["PlasmaGlucose", "DiastolicBloodPressure", "TricepsThickness", "SerumInsulin", "BMI"]
# The environment variable that says how many rows of a table are read at most. Ten million take some four gigabytes.
MAX_ROWS = "TANDEM_MAX_ROWS"
DEFAULT_MAX_ROWS = 10_000_000
FOOTER_BYTES = 4 << 20  # of a Parquet file; to read a footer takes a hundred times its size in memory
MOST_PREPARED_COLUMNS = 500
LARGEST = 1e15  # greater whole numbers have no exact float64
CHANCE_MARGIN = 0.1  # of ROC AUC
UNREADABLE = (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError)
SPECIAL_FILES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO (a named pipe)",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class DataError(ValueError):
    """A table cannot be used.

    Attributes:
        faults: A sentence for each fault: which file, row or column, what is wrong, and what would be right.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


# --- tables ----------------------------------------------------------------------------------------------------------


def most_rows() -> int:
    """The greatest number of rows that a table may have: ``TANDEM_MAX_ROWS``, or 10 million.

    Raises:
        DataError: The variable is no whole number of 1 or more.
    """
    text = os.environ.get(MAX_ROWS) or str(DEFAULT_MAX_ROWS)
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text)):
        raise DataError(f"{MAX_ROWS} is {text[:40]!r}: set it to a whole number of 1 or more")
    return int(text)


def check_regular_file(path: Path, wanted: str) -> None:
    """Check that a path leads to a regular file, without opening it: opening a FIFO would wait for its writer.

    Args:
        path: The path.
        wanted: What to give in its place, as the end of a sentence.

    Raises:
        DataError: It leads to something else.
        OSError: It leads nowhere.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise DataError(f"{path} is {SPECIAL_FILES.get(stat.S_IFMT(mode), 'no regular file')}: give {wanted}")


def parquet_end(path: Path) -> tuple[int, bytes]:
    """The last eight bytes of a Parquet file: how many bytes its footer has, and the four that mark its kind."""
    with path.open("rb") as file:
        file.seek(-min(8, path.stat().st_size), os.SEEK_END)
        return int.from_bytes(file.read(4), "little"), file.read(4)


def too_large_footer(path: Path) -> str | None:
    """Say that a Parquet file has a larger footer than is read; None if it has not."""
    footer_bytes, mark = parquet_end(path)
    if mark != b"PAR1" or not FOOTER_BYTES < footer_bytes < path.stat().st_size:
        return None
    return f"has a footer of {footer_bytes:,} bytes, and at most {FOOTER_BYTES:,} are read"


def count_rows(metadata: Any) -> int:
    """The rows of a Parquet file, by its footer: its own count or that of its row groups, whichever is greater."""
    return max(metadata.num_rows, sum(metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)))


def in_one_line(error: BaseException) -> str:
    """The message of a library's error, in one line of at most 300 characters; its name where it has no message."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def read_rows(path: Path) -> pd.DataFrame:
    """Read rows that prep has written, without PatientID: no step needs it, and as text it takes the most memory.

    Returns:
        Features and label, of shape (n_rows, n_features + 1); features are NaN where the file has no value.

    Raises:
        DataError: The file cannot be read as Parquet, or holds something else than prep writes.
    """
    try:
        names = _checked_columns(path)
        rows = pd.read_parquet(path, columns=names)
    except DataError:
        raise
    except UNREADABLE as error:
        said = in_one_line(error)
        raise DataError(f"{path} cannot be read as the Parquet that prep writes: {said}; run prep again") from error
    if not len(rows):
        raise DataError(f"{path} has no rows")
    for name in names:
        low, high = float(rows[name].min()), float(rows[name].max())  # NaN where nothing was measured
        if low < -LARGEST or high > LARGEST:
            raise DataError(f"{path}, column {name}: reaches from {low:g} to {high:g}, beyond ±{LARGEST:g}")
    if not rows[LABEL].isin([0, 1]).all():
        raise DataError(f"{path}, column {LABEL}: must be 0 or 1 in each row")
    return rows


def _checked_columns(path: Path) -> list[str]:
    """The columns of a Parquet file to read. Only its footer is read: nothing is unpacked that prep would not write."""
    check_regular_file(path, "the Parquet file that prep has written")
    if fault := too_large_footer(path):
        raise DataError(f"{path} {fault}")
    metadata = pq.read_metadata(path)
    rows, most = count_rows(metadata), most_rows()
    if rows > most:
        raise DataError(f"{path} has {rows:,} rows, and at most {most:,} are read: set {MAX_ROWS} to more")
    if metadata.num_columns > MOST_PREPARED_COLUMNS:
        count = f"{metadata.num_columns:,} columns, and at most {MOST_PREPARED_COLUMNS:,} are read"
        raise DataError(f"{path} has {count}")
    schema = metadata.schema.to_arrow_schema()
    names = [name for name in schema.names if name != PATIENT]
    if len(set(names)) < len(names):
        raise DataError(f"{path} has columns of the same name")
    if LABEL not in names:
        raise DataError(f"{path} has no column {LABEL}")
    for field in map(schema.field, names):
        if not (pa.types.is_integer(field.type) or pa.types.is_floating(field.type)):
            raise DataError(f"{path}, column {field.name}: holds {field.type!s:.80}; must be numbers")
    return names


def as_measured(rows: pd.DataFrame) -> pd.DataFrame:
    """A copy of rows with NaN for each zero that stands for a missing measurement: for counts and pictures only."""
    return rows.assign(**{name: rows[name].replace(0, np.nan) for name in ZERO_IS_MISSING if name in rows})


def too_few(label_0: int, label_1: int) -> str | None:
    """Warn that there are too few test rows to judge a model by; None where there are enough.

    There are enough if the ROC AUC of random guesses lies within 0.5 ± ``CHANCE_MARGIN`` in 19 of 20 draws. Its
    standard deviation is sqrt((n + m + 1) / 12nm) for n and m rows of the two labels (Mann and Whitney, 1947). So
    some 65 rows of each label are enough, or 33 of one and very many of the other.

    Args:
        label_0: Test rows with label 0.
        label_1: Test rows with label 1.
    """
    if not label_0 or not label_1:
        margin = 0.5
    else:
        margin = min(1.96 * math.sqrt((label_0 + label_1 + 1) / (12 * label_0 * label_1)), 0.5)
    if margin <= CHANCE_MARGIN:
        return None
    return (
        f"{label_0 + label_1:,} test rows, {label_1:,} of them diabetic, are too few to judge a model by: "
        f"the ROC AUC of random guesses lies within 0.5 ± {margin:.2f}, and should lie within 0.5 ± {CHANCE_MARGIN:g}; "
        "add rows, or set a larger test_share"
    )


# --- pages and pictures -----------------------------------------------------------------------------------------------


def png(figure: Figure) -> bytes:
    """Draw a figure as a PNG file. Equal figures give equal bytes."""
    file = io.BytesIO()
    # Without the software's version, which matplotlib writes into the file unless told otherwise.
    figure.savefig(file, format="png", facecolor="white", metadata={"Software": None})
    return file.getvalue()


def html_page(title: str, lead: str, body: str) -> str:
    """An HTML page that needs no other file. ``title`` and ``lead`` are text; ``body`` is HTML."""
    import html  # here, because prep and train write no pages
    from string import Template

    template = Template((Path(__file__).parent / "diabetes_page.html").read_text(encoding="utf-8"))
    return template.substitute(title=html.escape(title), lead=html.escape(lead), body=body)


def html_table(head: list[str], body: list[list[str]]) -> str:
    """A table of cells that are HTML, scrolled by itself where it is wider than the page."""
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body]
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"


def embedded(pictures: dict[str, bytes], captions: dict[str, str]) -> str:
    """The part of a page that shows pictures, which are in the HTML itself.

    Args:
        pictures: PNG files by name; the name is the class of the HTML figure.
        captions: The text below each picture, by the same names.
    """
    import html  # here, because prep and train write no pages

    figures = "\n".join(
        f'<figure class="{name}"><img alt="{html.escape(captions[name])}" '
        f'src="data:image/png;base64,{base64.b64encode(picture).decode()}">'
        f"<figcaption>{html.escape(captions[name])}</figcaption></figure>"
        for name, picture in pictures.items()
    )
    return f'<h2>Pictures</h2>\n<div class="pictures">\n{figures}\n</div>'
