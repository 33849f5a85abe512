"""Checks of AutoML jobs and steps: what the Azure ML client refuses of them before it sends anything."""

import re

from flows.spec.reading.ports.bindings import expression
from flows.spec.text import keys
from flows.spec.text.locations import exists, is_remote, local
from flows.spec.text.section import Section, nearest
from flows.spec.text.shape import of_shape
from flows.spec.text.yaml_lines import Node

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def check_automl(section: Section, is_job: bool) -> None:
    """Note what is wrong with the task and keys of an AutoML job or step, and which of its data is not on this machine.

    Args:
        section: The job or step.
        is_job: Whether it is a job of its own, whose task the client takes in small letters only.
    """
    _warn_of_missing_data(section)
    written = section.text("task")
    if written is None:
        if "task" not in section:
            section.missing("task", "an AutoML job has no task", "Add task: regression.")
        return
    task = written if is_job else _task(written)
    if task not in keys.AUTOML:
        remedy = nearest(task, frozenset(keys.AUTOML), "tasks")
        section.fault("task", f"{written} is not a task of AutoML", remedy)
        return
    # Of the data that a text task does not use, the client takes one key where the task is a step.
    more = {} if is_job else keys.read_keys("test_data")
    of_shape(section, {**keys.AUTOML[task], **more}, f"an AutoML job for {task}")


def check_needs(section: Section) -> None:
    """Note what an AutoML job or step lacks.

    Args:
        section: The job, or the step with what is bound to inputs of its pipeline.
    """
    if "training_data" not in section:
        section.missing("training_data", "an AutoML job has no training_data", "Add training_data:.")
    if "target_column_name" not in section and _task(section.text("task") or "") != "text_ner":
        section.missing(
            "target_column_name", "an AutoML job has no target_column_name", "Add target_column_name: <column>."
        )


def _task(written: str) -> str:
    return written if written in keys.AUTOML else _CAMEL.sub("_", written).lower()


def _warn_of_missing_data(section: Section) -> None:
    """Say which data of an AutoML job is not on this machine; in a pipeline it is bound to an input, as text."""
    for key in ("training_data", "validation_data", "test_data"):
        node = section.entries.get(key)
        data = Section(Node({}, section.node.place) if node is None else node, section.faults)
        path = data.text("path")
        if path is not None and not is_remote(path) and expression(path) is None:
            found = local(path, section.folder)
            if not exists(found):
                data.warn("path", f"there is no file or folder {found}", "It is needed to run the job.")
