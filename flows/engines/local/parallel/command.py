"""Command of a parallel step, and the JSON file with its task, which the driver reads."""

import glob
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from flows.data.digests import files_below
from flows.errors import DataAssetError
from flows.spec.model.job import Step
from flows.spec.model.parallel import DEFAULT_BYTES, DEFAULT_FILES
from flows.spec.render import render_command
from flows.spec.text.locations import is_remote, local

DRIVER_SCRIPT = Path(__file__).with_name("driver.py")
MLTABLE = "MLTable"
APPENDED = "parallel_run_step.txt"  # as Azure ML calls it where the output is a folder
_READERS = frozenset({"read_delimited", "read_parquet", "read_json_lines"})
_TRANSFORMATIONS = frozenset(
    {
        "keep_columns",
        "drop_columns",
        "take",
        "skip",
        "take_random_sample",
        "convert_column_types",
        "extract_columns_from_partition_format",
    }
)
_COLUMN_TYPES = frozenset({"string", "float", "int", "boolean", "datetime"})


def driver_command(step: Step, inputs: Mapping[str, str | None], outputs: Mapping[str, str], folder: Path) -> str:
    """The command that processes a step's mini-batches.

    Args:
        step: The parallel step.
        inputs: What each input receives, as text.
        outputs: The path of each output.
        folder: The step's folder, where what the driver reads is written down.

    Raises:
        DataAssetError: The input has no such files, or its mltable asks for what is not done here.
    """
    parallel = step.parallel
    assert parallel is not None
    files, transformations = mini_batch_data(step, inputs[parallel.input_data])
    appended = None if parallel.append_row_to is None else Path(outputs[parallel.append_row_to])
    if appended is not None and step.component.outputs[parallel.append_row_to or ""].type != "uri_file":
        appended /= APPENDED
    task = {
        "entry_script": parallel.entry_script,
        "arguments": shlex.split(render_command(parallel.program_arguments, inputs, outputs)),
        "input_name": parallel.input_data,
        "files": files,
        "transformations": transformations,
        "mini_batch_size": parallel.mini_batch_size or (DEFAULT_BYTES if transformations else DEFAULT_FILES),
        "partition_keys": parallel.partition_keys,
        "append_row_to": None if appended is None else str(appended),
        "error_threshold": parallel.error_threshold,
        "mini_batch_error_threshold": parallel.mini_batch_error_threshold,
        "concurrency": parallel.max_concurrency_per_instance or os.cpu_count() or 1,
        "max_retries": parallel.max_retries,
        "timeout_seconds": parallel.timeout_seconds,
        "logging_level": parallel.logging_level,
    }
    place = folder / "parallel.json"
    place.write_text(json.dumps(task, indent=1) + "\n", encoding="utf-8")
    return f"python {shlex.quote(str(DRIVER_SCRIPT))} {shlex.quote(str(place))}"


def mini_batch_data(step: Step, text: str | None) -> tuple[list[str], list[tuple[str, Any]]]:
    """The files of the input that a parallel step cuts, and what makes rows of them, if anything does.

    Args:
        step: The step.
        text: The path of the data; None for no value.

    Raises:
        DataAssetError: There are no such files, its mltable asks for what is not done here, or files are to be grouped.
    """
    assert step.parallel is not None
    name = step.parallel.input_data
    files, transformations = _data(step, name, text)
    if step.parallel.partition_keys and not transformations:
        raise DataAssetError(
            f"partition_keys groups rows, and the input {name} is files. "
            "Give an mltable that reads them (read_delimited, read_parquet or read_json_lines), or a mini_batch_size."
        )
    return files, transformations


def _data(step: Step, name: str, text: str | None) -> tuple[list[str], list[tuple[str, Any]]]:
    if text is None:
        raise DataAssetError(f"The input {name} of {step.name}, which is to be cut into mini-batches, has no value.")
    path = Path(text)
    if step.component.inputs[name].type == "mltable":
        return _table(path)
    return [str(path)] if path.is_file() else _files(path), []


def _files(folder: Path) -> list[str]:
    found = sorted(files_below(folder), key=lambda name: name.split("/"))
    return [str(folder / name) for name in found if name != MLTABLE]


def _table(folder: Path) -> tuple[list[str], list[tuple[str, Any]]]:
    file = folder / MLTABLE
    try:
        said: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        paths, steps = said["paths"], said.get("transformations") or []
        files = [found for entry in paths for found in _found(entry, folder)]
        return files, _transformations(steps, file)
    except OSError as error:
        raise DataAssetError(f"The mltable {folder} cannot be read: {error.strerror}: {file}.") from error
    except (yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise DataAssetError(f"{file} is not an MLTable file that can be read here: {error!r}.") from error


def _found(entry: Mapping[str, str], folder: Path) -> Iterator[str]:
    ((kind, text),) = entry.items()
    if is_remote(text):
        raise DataAssetError(f"{folder / MLTABLE} names {text}, which is not on this machine. Put a local copy there.")
    path = local(text, folder)
    if kind == "pattern":
        yield from sorted(name for name in glob.glob(str(path), recursive=True) if os.path.isfile(name))
    elif kind == "folder" and path.is_dir():
        yield from _files(path)
    elif kind == "file" and path.is_file():
        yield str(path)
    else:
        raise DataAssetError(f"{folder / MLTABLE} names the {kind} {text}, which is not there.")


def _transformations(steps: Sequence[Any], file: Path) -> list[tuple[str, Any]]:
    """The transformations by name; none where the files are only listed."""
    found = [(one, None) if isinstance(one, str) else next(iter(one.items())) for one in steps]
    if not found:
        return []
    (reader, options), *further = found
    unknown = [] if reader in _READERS else [reader]
    unknown += [name for name, argument in further if name not in _TRANSFORMATIONS or not _is_done(name, argument)]
    if unknown:
        known = ", ".join(sorted(_READERS | _TRANSFORMATIONS))
        raise DataAssetError(
            f"{file} asks for {', '.join(unknown)}, which cannot be done on this machine. "
            f"What can: first one of the readers, then the others of {known}."
        )
    return [(reader, options or {}), *further]


def _is_done(name: str, argument: Any) -> bool:
    """Whether a transformation with this argument is done here: columns are named, not described."""
    if name in ("keep_columns", "drop_columns"):
        return isinstance(argument, str | list)
    if name == "extract_columns_from_partition_format":
        return isinstance(argument, str) or (isinstance(argument, Mapping) and "partition_format" in argument)
    if name != "convert_column_types":
        return True
    kinds = [one["column_type"] for one in argument]
    return all((kind if isinstance(kind, str) else next(iter(kind))) in _COLUMN_TYPES for kind in kinds)
