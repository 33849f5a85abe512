"""Kinds of mappings that a YAML file has, and every key of each with its row of the table."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from flows.engines.local.keys.table import DROPPED, Row, Treatment, row_of
from flows.spec.model.sweep import EXPRESSIONS
from flows.spec.reading.work.elsewhere import REFUSALS
from flows.spec.text import keys
from flows.spec.text.keys import ByType, Each, Kind, Open, Shape, Value


class KeyedKind(NamedTuple):
    """A kind of mapping with its keys: what it is called, where it stands in a file, and why it is refused, if it is.

    ``at`` is the path that its keys stand below; empty for a job.
    """

    title: str
    at: str
    shape: Value
    refusal: str = ""


_SEARCH_SPACE: Shape = {key: Kind.READ for names in EXPRESSIONS.values() for key in ("type", *names)}
# By the name of the shape in :mod:`flows.spec.text.keys`. One that is missing here fails a test.
KINDS: Mapping[str, KeyedKind] = MappingProxyType(
    {
        "COMMAND_JOB": KeyedKind("command job", "", keys.COMMAND_JOB),
        "PIPELINE_JOB": KeyedKind("pipeline job", "", keys.PIPELINE_JOB),
        "SWEEP_JOB": KeyedKind("sweep job", "", keys.SWEEP_JOB),
        "PARALLEL_JOB": KeyedKind("parallel job", "", keys.PARALLEL_JOB),
        "COMMAND_STEP": KeyedKind("command step in place", "jobs.*", keys.COMMAND_STEP),
        "PARALLEL_STEP": KeyedKind("parallel step in place", "jobs.*", keys.PARALLEL_STEP),
        "COMMAND_NODE": KeyedKind("step of a command component", "jobs.*", keys.COMMAND_NODE),
        "PIPELINE_NODE": KeyedKind("pipeline in a pipeline", "jobs.*", keys.PIPELINE_NODE),
        "SWEEP_NODE": KeyedKind("sweep step", "jobs.*", keys.SWEEP_NODE),
        "PARALLEL_NODE": KeyedKind("step of a parallel component", "jobs.*", keys.PARALLEL_NODE),
        "COMMAND_COMPONENT": KeyedKind("command component", "component", keys.COMMAND_COMPONENT),
        "PIPELINE_COMPONENT": KeyedKind("pipeline component", "component", keys.PIPELINE_COMPONENT),
        "PARALLEL_COMPONENT": KeyedKind("parallel component", "component", keys.PARALLEL_COMPONENT),
        "TRIAL": KeyedKind("trial in place", "trial", keys.TRIAL),
        "TASK": KeyedKind("task", "task", keys.TASK),
        "SETTINGS": KeyedKind("settings", "settings", keys.SETTINGS),
        "LITERAL_PORT": KeyedKind("declared input, a value", "inputs.*", keys.LITERAL_PORT),
        "DATA_PORT": KeyedKind("declared input, data", "inputs.*", keys.DATA_PORT),
        "DATA_VALUE": KeyedKind("input, data", "inputs.*", keys.DATA_VALUE),
        "MODEL_VALUE": KeyedKind("input, a model", "inputs.*", keys.MODEL_VALUE),
        "OUTPUT_PORT": KeyedKind("declared output", "outputs.*", keys.OUTPUT_PORT),
        "OUTPUT_VALUE": KeyedKind("output", "outputs.*", keys.OUTPUT_VALUE),
        "SEARCH_SPACE": KeyedKind("hyperparameter", "search_space.*", _SEARCH_SPACE),
        "SAMPLING": KeyedKind("sampling algorithm", "sampling_algorithm", ByType("algorithm", keys.SAMPLING)),
        "OBJECTIVE": KeyedKind("objective", "objective", keys.OBJECTIVE),
        "EARLY_TERMINATION": KeyedKind(
            "early termination", "early_termination", ByType("policy", keys.EARLY_TERMINATION)
        ),
        "SWEEP_LIMITS": KeyedKind("limits of a sweep", "limits", keys.SWEEP_LIMITS),
        "LIMITS": KeyedKind("limits of a command", "limits", keys.LIMITS),
        "RETRY_SETTINGS": KeyedKind("retry settings", "retry_settings", keys.RETRY_SETTINGS),
        "RESOURCES": KeyedKind("resources", "resources", keys.RESOURCES),
        "DISTRIBUTION": KeyedKind("distribution", "distribution", keys.DISTRIBUTION),
        "SERVICES": KeyedKind("services", "services", keys.SERVICES),
        "IDENTITY": KeyedKind("identity", "identity", keys.IDENTITY),
        "QUEUE_SETTINGS": KeyedKind("queue settings", "queue_settings", keys.QUEUE_SETTINGS),
        "ENVIRONMENT": KeyedKind("environment", "environment", keys.ENVIRONMENT),
        "DATA_ASSET": KeyedKind("data asset", "data", keys.DATA_ASSET),
        "CONTROL_NODES": KeyedKind("choice or loop", "jobs.*", ByType("control node", keys.CONTROL_NODES)),
        "DO_WHILE_LIMITS": KeyedKind("limits of a loop", "limits", keys.DO_WHILE_LIMITS),
        "LITERAL_OUTPUT_PORT": KeyedKind("declared output, a value", "outputs.*", keys.LITERAL_OUTPUT_PORT),
        "AUTOML": KeyedKind("AutoML job or step", "jobs.*", ByType("task", keys.AUTOML), REFUSALS["automl"]),
        "SPARK": KeyedKind("spark", "jobs.*", keys.SPARK, REFUSALS["spark"]),
        "SPARK_RESOURCES": KeyedKind("resources of spark", "resources", keys.SPARK_RESOURCES, REFUSALS["spark"]),
        "DATA_TRANSFER": KeyedKind("data transfer", "jobs.*", keys.DATA_TRANSFER, REFUSALS["data_transfer"]),
        "IMPORT": KeyedKind("import", "jobs.*", keys.IMPORT, REFUSALS["import"]),
    }
)


def rows_of(kind: KeyedKind) -> Iterator[tuple[str, str | None, Row | None]]:
    """Every key of a kind, however deep: its path, that of its row, and the row; None for both where it has none."""
    for path, value in dict(_paths(kind.at, kind.shape)).items():
        found = row_of(path)
        if kind.refusal:
            yield path, path, Row(Treatment.REFUSED, f"It {kind.refusal}.")
        elif (value is Kind.SHOWN or path.rpartition(".")[2] in keys.SHOWN) and (found is None or found[0] != path):
            yield path, path, DROPPED
        else:
            known_as, row = found or (None, None)
            yield path, known_as, row


def _paths(at: str, value: Value) -> Iterator[tuple[str, Value]]:
    match value:
        case ByType(_, shapes, other, untyped):
            for shape in (*shapes.values(), other or {}, untyped or {}):
                yield from _paths(at, shape)
        case Open(shape):
            yield from _paths(at, shape)
        case Each(each):
            yield from _paths(f"{at}.*", each)
        case Mapping():
            for key, item in value.items():
                path = f"{at}.{key}" if at else key
                yield path, item
                yield from _paths(path, item)
        case _:
            return
