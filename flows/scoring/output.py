"""Writer of the output, CSV or Parquet by its ending: whole under its name, or not there at all."""

import csv
import fcntl
import io
import os
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from flows.data.atomic import draft_of
from flows.errors import DataAssetError, ParameterError, SettingsError
from flows.machine.private import make_folder, umask_at
from flows.scoring.tables import SUFFIXES, TableFile

_NOT_IN_CSV = ("list", "large_list", "fixed_size_list", "struct", "map", "binary", "large_binary", "fixed_size_binary")


class Rows(Protocol):
    """Takes rows."""

    def write(self, table: Any) -> None:
        """Add the rows of a table of Arrow, which has the same columns each time."""
        ...


def check_output(output: Path, source: Path | None) -> None:
    """See before anything is scored that an output can be written.

    Args:
        output: The file.
        source: The file or folder of the input; None where that is elsewhere.

    Raises:
        ParameterError: Its ending is neither that of CSV nor of Parquet; or it is the input, or lies in it.
        SettingsError: It cannot be written there.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise ParameterError(f"--output {output.name}: let it end in .csv or .parquet. Nothing was scored.")
    if output.is_dir():
        raise ParameterError(f"--output {output} is a folder. Nothing was scored. Name a file.")
    if source is not None and source.exists():
        inside = source.is_dir() and output.resolve().is_relative_to(source.resolve())
        if inside or (output.exists() and output.samefile(source)):
            raise ParameterError(f"--output {output} is the input, or lies in it. Nothing was scored. Name another.")
    try:
        make_folder(output.parent)
    except OSError as error:
        raise SettingsError(f"--output: {output.parent} cannot be made: {error.strerror}. Choose another.") from error
    if not os.access(output.parent, os.W_OK):
        raise SettingsError(f"--output: the folder {output.parent} cannot be written. Choose another.")


def check_form(output: Path, table: TableFile, passed_on: Sequence[str]) -> None:
    """See that a file of this ending can have the columns that are passed on.

    Raises:
        DataAssetError: CSV cannot, such as lists.
    """
    types = dict(zip(table.names, table.types, strict=True))
    for name in passed_on if _is_csv(output) else ():
        if types[name].startswith(_NOT_IN_CSV):
            raise DataAssetError(
                f"The column {name} is {types[name]:.60}, which CSV cannot have. Nothing was scored. Let the output "
                "end in .parquet."
            )


@contextmanager
def written(output: Path) -> Generator[Rows]:
    """Write a file. It is there, in place of one that was, when the block has ended without an error.

    What killed processes have left beside it is deleted.

    Raises:
        SettingsError: It cannot be written.
    """
    draft = draft_of(output)
    try:
        with _told(output):
            _delete_abandoned(output)
            stream = draft.open("wb")
            fcntl.flock(stream, fcntl.LOCK_EX)  # a draft without a lock is one of a process that is gone
        with stream:
            writer = _Csv(stream) if _is_csv(output) else _Parquet(stream)
            try:
                yield _Told(writer, output)
            finally:
                with _told(output):
                    writer.close()
            with _told(output):
                stream.flush()
                os.fsync(stream.fileno())
        with _told(output):
            draft.chmod(output.stat().st_mode & 0o777 if output.exists() else 0o666 & ~umask_at(output))
            draft.replace(output)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _told(output: Path) -> Generator[None]:
    """A block in which an error of the file system means that the output cannot be written."""
    try:
        yield
    except OSError as error:
        why = f"{error.strerror}. What was there is as it was."
        raise SettingsError(f"--output {output} cannot be written: {why}") from error


class _Told:
    """Writes with another, and tells what goes wrong."""

    def __init__(self, rows: Rows, output: Path) -> None:
        self._rows = rows
        self._output = output

    def write(self, table: Any) -> None:
        with _told(self._output):
            self._rows.write(table)


class _Parquet:
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._writer: Any = None

    def write(self, table: Any) -> None:
        from pyarrow.parquet import ParquetWriter

        if self._writer is None:
            self._writer = ParquetWriter(self._stream, table.schema, compression="zstd")
        self._writer.write_table(table.cast(self._writer.schema))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _Csv:
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._has_header = False

    def write(self, table: Any) -> None:
        import pyarrow as pa
        from pyarrow import csv as pa_csv

        if not self._has_header:
            line = io.StringIO()
            csv.writer(line, lineterminator="\n").writerow(table.column_names)
            self._stream.write(line.getvalue().encode())
            self._has_header = True
        made: Any = pa.BufferOutputStream()
        try:  # Arrow puts quotes around all text, or around none
            pa_csv.write_csv(table, made, pa_csv.WriteOptions(include_header=False, quoting_style="none"))
        except pa.ArrowInvalid:  # a cell has a comma, a quote or a line end
            made = pa.BufferOutputStream()
            pa_csv.write_csv(table, made, pa_csv.WriteOptions(include_header=False, quoting_style="needed"))
        self._stream.write(made.getvalue())

    def close(self) -> None:
        pass


def _is_csv(output: Path) -> bool:
    return output.suffix.lower() == ".csv"


def _delete_abandoned(output: Path) -> None:
    """Delete the drafts of processes that are gone."""
    draft = re.compile(rf"\.{re.escape(output.name)}\.\d+\.\d+")
    for file in output.parent.iterdir():
        if draft.fullmatch(file.name):
            with suppress(OSError), file.open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.unlink()
