"""Table of what this machine does with each key of a YAML file: honoured, emulated, ignored or refused.

The keys are those of :mod:`flows.spec.text.keys`. A row stands under the path of its key. In a path, ``*`` stands for
a name that a person gives: ``inputs.*.mode``. A row holds for all that stands below its key, unless that has a row of
its own; and for the same key in a step, a component, a trial and so on, unless that has one: ``jobs.*.name``.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from flows.spec.text.locations import is_remote


class Treatment(StrEnum):
    """What this machine does with a key."""

    HONOURED = "honoured"
    """It has the effect here that it has on Azure ML."""
    EMULATED = "emulated"
    """What it asks for is done here in another way, or in part."""
    IGNORED = "ignored"
    """What runs here, and what it is given, is the same without it."""
    REFUSED = "refused"
    """What has it does not run here."""
    SHOWN = "dropped"
    """The service adds it when it shows a job. It is dropped from a file, on Azure ML too."""


@dataclass(frozen=True, slots=True)
class Row:
    """What this machine does with one key.

    Attributes:
        treatment: Which of the five.
        reason: Why, or how, in one short sentence.
        refused_if: When it is refused nevertheless, as the end of a sentence that begins with "refused if".
        values: Which values are treated so, as the end of a sentence that begins with "if"; others are honoured.
        holds: Whether a value is one of these.
    """

    treatment: Treatment
    reason: str
    refused_if: str = ""
    values: str = ""
    holds: Callable[[object], bool] = lambda value: True


def _honoured(reason: str, refused_if: str = "") -> Row:
    return Row(Treatment.HONOURED, reason, refused_if)


def _ignored(reason: str, refused_if: str = "") -> Row:
    return Row(Treatment.IGNORED, reason, refused_if)


def _emulated(reason: str) -> Row:
    return Row(Treatment.EMULATED, reason)


def _drawn_at_random(word: str) -> Row:
    def holds(value: object) -> bool:
        return isinstance(value, str) and value.lower() == word

    return Row(Treatment.EMULATED, "The values are drawn at random.", values=f"it is {word}", holds=holds)


def _elsewhere(value: object) -> bool:
    return isinstance(value, str) and is_remote(value) and "${{" not in value


DROPPED = Row(Treatment.SHOWN, "The service adds it when it shows a job.")
_DESCRIBES = _ignored("It describes, and nothing here shows it.")
_TELLS_NOTHING = _ignored("It tells nothing that is not known.")
_SEARCHED = _honoured("Trials are drawn from it.")
_STOPS = _honoured("Trials that do badly are stopped.")
_READ_IN_PLACE = _ignored("A step reads its inputs where they lie.")
_RESOURCES = _ignored("A step gets what this machine has.")
_NOT_BUILT = _emulated("Not built: the steps run with Tandem's Python, or with that of --python.")
_NOT_SERVED = _ignored("It is for a deployment, not for a job.")

ROWS: Mapping[str, Mapping[str, Row]] = MappingProxyType(
    {
        "Jobs, steps and components": {
            "$schema": _honoured("It tells what the file is, where type does not."),
            "jobs.*.$schema": _TELLS_NOTHING,
            "type": _honoured("It tells what the file or step is.", "it is a kind that only Azure ML runs"),
            "name": _honoured("It names the job, unless that has a display_name."),
            "jobs.*.name": _ignored("A step is called by its key under jobs."),
            "component.name": _honoured("It names the component in messages."),
            "display_name": _honoured("It names the job."),
            "jobs.*.display_name": _ignored("A step is called by its key under jobs."),
            "component.display_name": _honoured("It names the job where the component is run alone."),
            "description": _DESCRIBES,
            "tags": _DESCRIBES,
            "properties": _DESCRIBES,
            "comment": _DESCRIBES,
            "version": _honoured("With another version, the steps of a component run again."),
            "experiment_name": _honoured("It names the experiment in MLflow."),
            "jobs.*.experiment_name": _ignored("All steps belong to the experiment of the job."),
            "parent_job_name": _ignored("A job here stands below no other."),
            "jobs": _honoured("The steps run in the order of what they read."),
            "component": _honoured("The step runs it.", "it is registered, and no file was given for it"),
            "command": _honoured("A shell runs it, with the values that Azure ML would put in."),
            "code": _honoured("The step runs in a copy of it.", "it is not on this machine"),
            "additional_includes": _honoured("They lie in the copy of the code too."),
            "is_deterministic": _honoured("Where it is false, the step runs each time."),
            "environment_variables": _honoured("The step has them."),
            "distribution": _ignored("The command is run once, as one process.", "there are several instances"),
            "resources": _RESOURCES,
            "resources.instance_count": Row(
                Treatment.IGNORED,
                "This machine is one instance.",
                refused_if="there is a distribution too",
                values="it is more than 1",
                holds=lambda value: str(value) != "1",
            ),
            "resources.docker_args": _ignored("There is no container."),
            "limits": _honoured("They hold."),
            "limits.timeout": _honoured("What takes longer, in seconds, is stopped."),
            "compute": _ignored("This machine is the compute."),
            "identity": _ignored("Steps run as whoever starts them."),
            "services": _ignored("No service is started."),
            "queue_settings": _ignored("There is no queue."),
            "auto_delete_setting": _ignored("Nothing is deleted by itself."),
        },
        "Settings of a pipeline": {
            "settings": _ignored("Only Azure ML knows it."),
            "settings.continue_on_step_failure": _honoured("Where it is false, no step starts after a failure."),
            "settings.force_rerun": _honoured("Where it is true, every step runs."),
            "settings.default_compute": _ignored("This machine is the compute."),
            "settings.default_datastore": _ignored("Outputs are kept in the local state."),
            "jobs.*.settings": _ignored("Only the settings of the whole job count."),
        },
        "Inputs": {
            "inputs": _honoured("A value is given to the step as Azure ML gives it."),
            "inputs.*.path": _honoured("The step gets the path on this machine.", "the data is not on this machine"),
            "inputs.*.type": _honoured("It says which values fit, and whether the step gets text or a path."),
            "inputs.*.optional": _honoured("Where it is true, the step runs without a value too."),
            "inputs.*.enum": _honoured("Another value is a fault."),
            "inputs.*.min": _honoured("A smaller value is a fault."),
            "inputs.*.max": _honoured("A greater value is a fault."),
            "inputs.*.default": _honoured("It is the value where none is given.", "the input is data"),
            "inputs.*.mode": _READ_IN_PLACE,
            "inputs.*.path_on_compute": _READ_IN_PLACE,
            "inputs.*.datastore": _READ_IN_PLACE,
            "inputs.*.description": _DESCRIBES,
        },
        "Outputs": {
            "outputs": _honoured("The step gets the path of a new file or folder."),
            "outputs.*.type": _honoured(
                "It says whether it is a file, a folder, or a value that the step writes into a file."
            ),
            "outputs.*.is_control": _ignored("A choice or a loop may go by any output that is true or false."),
            "outputs.*.early_available": _ignored("A value is read when its step has ended."),
            "outputs.*.path": Row(
                Treatment.EMULATED,
                "The output is kept in the local state.",
                values="it leads to a place that is not on this machine",
                holds=_elsewhere,
            ),
            "outputs.*.mode": _ignored("An output is written where it is kept."),
            "outputs.*.name": _emulated("The output is registered on this machine."),
            "outputs.*.version": _emulated("The output is registered on this machine."),
            "outputs.*.description": _DESCRIBES,
        },
        "Choices and loops": {
            "jobs.*.condition": _honoured("The value of it decides which steps run, or whether the body runs again."),
            "jobs.*.true_block": _honoured("The steps run where the condition is true."),
            "jobs.*.false_block": _honoured("The steps run where the condition is false."),
            "jobs.*.body": _honoured("It runs again and again, or for each item."),
            "jobs.*.mapping": _honoured("The body reads what it has delivered the time before."),
            "jobs.*.items": _honoured("The body runs for each."),
            "jobs.*.max_concurrency": _honoured("The body runs no more times at once."),
            "limits.max_iteration_count": _honoured("The body runs no more times."),
        },
        "Sweeps": {
            "trial": _honoured("Each trial runs it.", "it is registered, and no file was given for it"),
            "search_space": _SEARCHED,
            "search_space.*.values": _honoured("A trial gets one of them.", "one of them is a search space itself"),
            "sampling_algorithm": _drawn_at_random("bayesian"),
            "sampling_algorithm.type": _drawn_at_random("bayesian"),
            "sampling_algorithm.rule": _drawn_at_random("sobol"),
            "sampling_algorithm.seed": _honoured("The same seed draws the same values, though not those of Azure ML."),
            "sampling_algorithm.logbase": _ignored("Only sobol uses it."),
            "objective": _honoured("The metric in MLflow ranks the trials."),
            "early_termination": _STOPS,
            "limits.max_total_trials": _honoured("No more trials are run."),
            "limits.max_concurrent_trials": _honoured("No more trials run at once."),
            "limits.trial_timeout": _honoured("A trial that takes longer, in seconds, is stopped."),
        },
        "Parallel steps": {
            "task": _honoured("Worker processes run the script over the mini-batches."),
            "task.type": _honoured("The script is called in the same way for each type."),
            "task.entry_script": _honoured("Its run() is called for each mini-batch."),
            "task.program_arguments": _honoured("The script gets them."),
            "task.append_row_to": _honoured("What run() returns is appended to it."),
            "task.model": _ignored("The script finds its model by its arguments.", "there is no entry_script"),
            "input_data": _honoured("It is cut into mini-batches.", "its MLTable asks for what is not done here"),
            "mini_batch_size": _honoured("A mini-batch has so many files, or about so many bytes of rows."),
            "partition_keys": _honoured("Rows are grouped by them.", "the input is files"),
            "error_threshold": _honoured("The step fails where more items do."),
            "mini_batch_error_threshold": _honoured("The step fails where more mini-batches do."),
            "logging_level": _honoured("The script logs from this level on."),
            "max_concurrency_per_instance": _honoured("No more mini-batches are processed at once."),
            "retry_settings": _honoured("A mini-batch that fails or takes too long is tried again."),
        },
        "Environments": {
            "environment": _NOT_BUILT,
            "environment.$schema": _TELLS_NOTHING,
            "environment.name": _honoured("A job finds the definition under environment/ by it."),
            "environment.version": _ignored("A definition is found by its name alone."),
            "environment.image": _NOT_BUILT,
            "environment.conda_file": _NOT_BUILT,
            "environment.build": _NOT_BUILT,
            "environment.os_type": _ignored("Steps run on the system of this machine."),
            "environment.inference_config": _NOT_SERVED,
            "environment.datastore": _ignored("Nothing is uploaded."),
        },
        "Data assets": {
            "data.$schema": _TELLS_NOTHING,
            "data.name": _honoured("A job finds the data under data/ by it."),
            "data.version": _honoured("A job finds the data under data/ by it."),
            "data.type": _honoured("It says whether it is a file or a folder."),
            "data.path": _honoured("It is where the data lies."),
            "data.datastore": _ignored("Nothing is uploaded."),
        },
    }
)
_BY_PATH: Mapping[str, Row] = {path: row for group in ROWS.values() for path, row in group.items()}
# What holds keys that stand elsewhere too; a row of such a key need not be repeated.
WRAPPERS = ("jobs.*", "component", "trial", "task", "environment", "data")


def row_of(path: str) -> tuple[str, Row] | None:
    """The row that holds for a key, with the path that it stands under; None for a key without one."""
    for level, least in _levels(path):
        while len(level) > least:
            if level in _BY_PATH:
                return level, _BY_PATH[level]
            level = level.rpartition(".")[0]
    return None


def has_rows_below(path: str) -> bool:
    """Whether what stands below a key may be treated otherwise than the key itself."""
    below = (f"{level}." for level, _ in _levels(path) if level)
    holds_others = any(path == each or path.endswith(f".{each}") for each in WRAPPERS)
    return holds_others or any(row.startswith(level) for level in below for row in _BY_PATH)


def _levels(path: str) -> Iterator[tuple[str, int]]:
    """A path, then without each of the wrappers that it begins with; each with the length of its next wrapper."""
    while path:
        wrapper = next((each for each in WRAPPERS if path.startswith(f"{each}.")), "")
        yield path, len(wrapper)
        path = path[len(wrapper) + 1 :] if wrapper else ""
