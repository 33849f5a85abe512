"""Named moments of a local run, seen from outside: a file that appears, a row in a database, a process, a line."""

from collections.abc import Callable, Mapping

from tests.chaos.observe import rows
from tests.chaos.processes import of_target
from tests.chaos.small_pipeline import HALF
from tests.chaos.world import Command, World

Look = Callable[[World, Command], Callable[[], bool]]

_NOT_A_NUMBER = -1


def _process(role: str) -> Look:
    return lambda world, command: lambda: bool(of_target(command.pid, role))


def _counted(database: str, query: str) -> Look:
    """More rows than there were at the start."""

    def look(world: World, command: Command) -> Callable[[], bool]:
        def count() -> int:
            found = rows(world.state / database, query)
            return found[0][0] if found and isinstance(found[0][0], int) else _NOT_A_NUMBER

        before = max(0, count())
        return lambda: count() > before

    return look


def _file(pattern: str) -> Look:
    """A file that was not there at the start; the pattern is relative to the world's folder."""

    def look(world: World, command: Command) -> Callable[[], bool]:
        before = set(world.folder.glob(pattern))
        return lambda: any(path not in before for path in world.folder.glob(pattern))

    return look


def _delivered(pattern: str) -> Look:
    return lambda world, command: lambda: any(command.output.glob(pattern))


def _line(text: str) -> Look:
    return lambda world, command: lambda: text in command.stderr


MOMENTS: Mapping[str, Look] = {
    "the host runs": _process("host"),
    "the server runs": _process("server"),
    "the worker runs": _process("worker"),
    "Prefect's database is begun": _file("state/prefect/*prefect.db*"),
    "MLflow's database is begun": _file("state/mlflow.db*"),
    "the flow run is recorded": _counted("prefect/prefect.db", "select count(*) from flow_run"),
    "the MLflow run is made": _counted("mlflow.db", "select count(*) from runs"),
    "a step runs": _line(" | started"),
    "an output is half written": _file(f"state/jobs/*/steps/*/outputs/*/{HALF}"),
    "a step is recorded": _file("state/steps/*.json"),
    "outputs are delivered": _delivered("outputs/*"),
    "the evaluation is fetched": _delivered("**/metrics.json"),
    "the model is copied": _file("state/mlartifacts/*/artifacts/model/*"),
    "the version is made": _counted("mlflow.db", "select count(*) from model_versions"),
    "the champion is named": _counted("mlflow.db", "select coalesce(sum(version), 0) from registered_model_aliases"),
    "the report is kept": _file("state/mlartifacts/*/artifacts/evaluation/*"),
}
