"""Parallel steps as frozen values: which input is cut into mini-batches, and which script is called on each."""

from dataclasses import dataclass

# What a mini-batch is where the file leaves its size open.
DEFAULT_FILES = 1
DEFAULT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Parallel:
    """How a parallel step runs its entry script over mini-batches of one input.

    The script stands in the ``code`` of the step's component, whose ``environment`` is that of the task. It has
    ``run(mini_batch)`` and may have ``init()`` and ``shutdown()``. ``run`` receives a list of paths where the input is
    files, a pandas frame where it is an mltable; it returns a list (or frame) with one item for each that it processed.

    Attributes:
        entry_script: The script, relative to the component's ``code``.
        input_data: The name of the input that is cut into mini-batches.
        program_arguments: The script's arguments, with ``${{inputs.x}}`` and ``${{outputs.x}}`` in it: rendered as a
            command is (:func:`flows.spec.render.render_command`), then split as a shell would.
        mini_batch_size: A number of files where the data is files; about that many bytes where it is rows. None where
            the file leaves it open: :data:`DEFAULT_FILES`, or :data:`DEFAULT_BYTES`.
        partition_keys: The columns by whose values rows are grouped; a group is a mini-batch, whatever its size.
        append_row_to: The name of the output, a file, that each returned item is appended to as a line; None for
            none (``summary_only``).
        error_threshold: How many items (files or rows) may fail before the step does; -1 for any number. The items of
            a mini-batch that fail are those that its result is short of.
        mini_batch_error_threshold: How many mini-batches may fail before the step does; -1 for any number.
        max_concurrency_per_instance: How many mini-batches are processed at once on an instance, of which there are
            ``instance_count`` of the step; None where the file leaves it open: as many as the machine has cores.
        max_retries: How often a mini-batch that failed or took too long is tried again before it counts as failed.
        timeout_seconds: How long ``run`` may take for one mini-batch.
        logging_level: ``DEBUG``, ``INFO`` or ``WARNING``.
    """

    entry_script: str
    input_data: str
    program_arguments: str = ""
    mini_batch_size: int | None = None
    partition_keys: tuple[str, ...] = ()
    append_row_to: str | None = None
    error_threshold: int = -1
    mini_batch_error_threshold: int = -1
    max_concurrency_per_instance: int | None = None
    max_retries: int = 2
    timeout_seconds: int = 60
    logging_level: str = "INFO"
