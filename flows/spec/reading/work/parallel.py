"""Reader of parallel components, steps and jobs: which input is cut, how, and what is called on each part."""

import re
from dataclasses import replace
from pathlib import Path

from flows.spec.model.parallel import Parallel
from flows.spec.reading.ports.bindings import expression
from flows.spec.text import keys
from flows.spec.text.locations import is_file
from flows.spec.text.section import Section
from flows.spec.text.shape import of_shape

_SIZE = re.compile(r"(?P<number>[0-9]{1,18})\s*(?P<unit>[kKmMgG][bB])?")
_UNITS = {"kb": 1024, "mb": 1024**2, "gb": 1024**3}
_TASKS = frozenset({"run_function", "function", "model"})
_LEVELS = frozenset({"DEBUG", "INFO", "WARNING"})


def parallel_from(section: Section, above: Parallel | None, code: Path | None = None) -> Parallel:
    """Read what stands in a component, step or job.

    Args:
        section: Its mapping.
        above: What the component says, where a step refers to one; the step's own settings win.
        code: The folder of the code, in which the entry script must be.
    """
    found = above or _task(section, code)
    if above is None and "input_data" not in section:
        section.missing("input_data", "there is no input_data", "Add input_data: ${{inputs.<name>}}.")
    name = _port(section, "input_data", "inputs")
    retries = section.section("retry_settings")
    retries = of_shape(retries, keys.RETRY_SETTINGS, "retry_settings", ignored=True)
    partition_keys = tuple(str(item.plain()) for item in section.items("partition_keys"))
    given = {
        "input_data": name,
        "mini_batch_size": _size(section),
        "partition_keys": partition_keys or None,
        "error_threshold": section.integer("error_threshold", -1),
        "mini_batch_error_threshold": section.integer("mini_batch_error_threshold", -1),
        "max_concurrency_per_instance": section.integer("max_concurrency_per_instance", 1),
        "max_retries": retries.integer("max_retries", 0),
        "timeout_seconds": retries.integer("timeout", 1),
        "logging_level": section.choice("logging_level", _LEVELS, "level", exact=True),
    }
    return replace(found, **{key: value for key, value in given.items() if value is not None})


def _task(section: Section, code: Path | None) -> Parallel:
    task = section.section("task")
    if not task.entries:
        return Parallel("", "")
    task = of_shape(task, keys.TASK, "a task", ignored=True)
    if "type" not in task:
        task.missing("type", "the task has no type", "Add type: run_function.")
    task.choice("type", _TASKS, "type")
    script = task.text("entry_script")
    if "entry_script" not in task and "model" not in task:
        task.missing("entry_script", "there is no entry_script", "Add entry_script: <script>.py.")
    if script is not None and code is not None and not is_file(code / script):
        module = f"{script.replace('.', '/')}.py"  # it may be given as a module: score.main
        script = module if is_file(code / module) else script
    if script is not None and code is not None and not is_file(code) and not is_file(code / script):
        task.fault("entry_script", f"there is no file {script} in the code", f"It is looked for at {code / script}.")
    return Parallel(
        script or "",
        "",
        program_arguments=task.text("program_arguments") or "",
        append_row_to=_port(task, "append_row_to", "outputs"),
    )


def _port(section: Section, key: str, kind: str) -> str | None:
    """The name in ``${{inputs.name}}`` or ``${{outputs.name}}``."""
    text = section.text(key)
    if text is None:
        return None
    match (expression(text) or "").split("."):
        case [first, *name] if first == kind and name and all(name):
            return ".".join(name)
        case _:
            section.fault(key, f"{text} does not name one of the {kind}", f"Write ${{{{{kind}.<name>}}}}.")
            return None


def _size(section: Section) -> int | None:
    text = section.text("mini_batch_size")
    if text is None:
        return None
    match = _SIZE.fullmatch(text.strip())
    if match is None or not int(match["number"]):
        remedy = 'Write a number of files, "10", or a size, "100kb", "10mb" or "1gb".'
        section.fault("mini_batch_size", f"{text} is not a size of mini-batches", remedy)
        return None
    return int(match["number"]) * _UNITS.get((match["unit"] or "").lower(), 1)
