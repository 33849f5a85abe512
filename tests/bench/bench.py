"""How fast Tandem is, beside the same four steps in one plain process and as a plain process a step.

In two styles: steps that import their libraries at the top, as this project's own do, and steps as people write them,
which call a helper module that imports them in its functions and logs a model without naming its requirements.

Every figure is of whole processes, from start to exit, and every ratio is of medians of the same session. Each round
gives each contestant an empty folder for all its state and runs the three cases in it; the contestants take turns
within a case, in another order each round, so that what else the machine does meets all of them alike. A run counts
only if it registered the model versions that it should have. The first round, of first runs only, is not counted: it
warms byte code and disk caches.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

from measure import CommandError, Cost, last_lines, measure, table

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
DATA = HERE.parents[1] / "data/diabetes-diagnostics/diabetes-diagnostics.csv"
TEMPORARY_SERVER_SECONDS = 4.0
SERVER_START_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of run: its regularisation rate."""

    name: str
    reg_rate: float


CASES = [Case("first run on empty state", 0.1), Case("unchanged run", 0.1), Case("only reg_rate changed", 0.2)]


@dataclass(frozen=True, slots=True)
class Style:
    """A way to write the four steps.

    Attributes:
        folder: Has their pipeline, and ``plain.py``, which runs them in one process.
        targets: The wall time of each case to stay within, as a share of one plain process.
        process_a_step: Whether they can be run as a plain process a step too.
    """

    name: str
    folder: Path
    targets: tuple[float, float, float]
    process_a_step: bool = False


STYLES = [
    Style("imports at the top", HERE, (1.0, 0.5, 0.9), process_a_step=True),
    Style("as people write them", HERE / "as_written", (0.9, 0.2, 1.0)),
]

Command = list[str | Path]


@dataclass(frozen=True, slots=True)
class Contestant:
    """A way to run the four steps.

    Attributes:
        command: What to run, for a regularisation rate, in the folder for its state.
        model_versions: How many model versions that folder holds after each case.
    """

    name: str
    command: Callable[[float], Command]
    model_versions: tuple[int, int, int]
    environment: dict[str, str] = field(default_factory=dict[str, str])


def plain(style: Style, reg_rate: float) -> Command:
    """Run all steps in one plain process."""
    return [sys.executable, style.folder / "plain.py", "--data", DATA, "--reg_rate", str(reg_rate)]


def process_a_step(reg_rate: float) -> Command:
    """Run each step in a plain process of its own."""
    return [HERE / "process_a_step.sh", sys.executable, DATA, str(reg_rate)]


def tandem(style: Style, reg_rate: float) -> Command:
    """Run the pipeline YAML with Tandem."""
    setting = f"inputs.reg_rate={reg_rate}"
    return [BIN / "tandem", "run", style.folder / "pipeline.yml", "--set", setting, "--output-dir", "outputs"]


PLAIN, PROCESS_A_STEP = "one plain process", "a plain process a step"
RUNNING, TEMPORARY = "tandem, running server", "tandem, temporary server"
ORDER = [PLAIN, PROCESS_A_STEP, RUNNING, TEMPORARY]


def contestants(style: Style, api_url: str) -> list[Contestant]:
    """List those of a style; ``api_url`` is of the running Prefect server."""
    return [
        Contestant(PLAIN, partial(plain, style), (1, 2, 3)),
        *([Contestant(PROCESS_A_STEP, process_a_step, (1, 2, 3))] if style.process_a_step else []),
        Contestant(RUNNING, partial(tandem, style), (1, 1, 2), {"PREFECT_API_URL": api_url}),
        Contestant(TEMPORARY, partial(tandem, style), (1, 1, 2)),
    ]


def environment(state: Path) -> dict[str, str]:
    """Give this process's environment, but all state in ``state``, nothing phoning home, and byte code allowed."""
    prefixes = ("PREFECT_", "MLFLOW_", "AZUREML_", "TANDEM_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return kept | {
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{state}/mlflow.db",
        "PREFECT_HOME": str(state / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "TANDEM_HOME": str(state / "tandem"),
    }


@contextmanager
def prefect_server(folder: Path) -> Generator[str]:
    """Run a Prefect server on a free port of this machine, with its state in ``folder``; yields its API's address.

    Raises:
        CommandError: the server does not start.
    """
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [BIN / "prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
    api_url = f"http://127.0.0.1:{port}/api"
    log = folder / "server.txt"
    with log.open("wb") as sink:
        server = subprocess.Popen(
            command, env=environment(folder), stdout=sink, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + SERVER_START_SECONDS
        while not is_healthy(api_url):
            if server.poll() is not None or time.monotonic() > deadline:
                raise CommandError(f"the Prefect server does not start:\n{last_lines(log)}")
            time.sleep(0.2)
        yield api_url
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=30)


def is_healthy(api_url: str) -> bool:
    """Whether a Prefect server answers at ``api_url``."""
    try:
        with urllib.request.urlopen(f"{api_url}/health", timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def count_model_versions(state: Path) -> int:
    """Count the model versions that the MLflow stores below ``state`` hold."""
    count = 0
    for store in state.rglob("mlflow*.db"):
        with closing(sqlite3.connect(store)) as connection:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'model_versions'").fetchone():
                count += connection.execute("SELECT count(*) FROM model_versions").fetchone()[0]
    return count


def run(contestant: Contestant, case: Case, state: Path) -> Cost:
    """Run one case in ``state`` and check what it registered.

    Raises:
        CommandError: it ended with another status than 0, or registered other versions than it should have.
    """
    command = contestant.command(case.reg_rate)
    cost = measure(command, state, environment(state) | contestant.environment)
    expected, found = contestant.model_versions[CASES.index(case)], count_model_versions(state)
    if found != expected:
        raise CommandError(f"{found} model versions after '{case.name}', where there should be {expected}")
    return cost


Costs = dict[tuple[Case, str], list[Cost]]


def measure_all(style: Style, repeat: int, folder: Path, api_url: str) -> tuple[Costs, dict[str, str]]:
    """Measure each case and contestant of a style ``repeat`` times; say why a contestant failed, where one did.

    A contestant that fails runs no more.
    """
    costs: Costs = defaultdict(list)
    failures: dict[str, str] = {}
    for number, case, contestant, state in schedule(repeat, contestants(style, api_url), folder):
        if contestant.name in failures:
            continue
        label = f"{style.name}, {f'round {number}' if number else 'warm-up'}: {case.name}, {contestant.name}"
        try:
            cost = run(contestant, case, state)
        except (CommandError, OSError) as error:
            failures[contestant.name] = str(error)
            print(f"{label}: FAILED\n{error}", file=sys.stderr)
            continue
        print(f"{label}: {cost.wall_seconds:.2f} s, CPU {cost.cpu_seconds:.2f} s", file=sys.stderr)
        if number:
            costs[case, contestant.name].append(cost)
    return costs, failures


def schedule(repeat: int, everyone: list[Contestant], folder: Path) -> Iterator[tuple[int, Case, Contestant, Path]]:
    """Say what runs when, and in which folder: the warm-up as round 0, then the counted rounds."""
    for number in range(repeat + 1):
        first = number % len(everyone)
        states = {contestant.name: Path(tempfile.mkdtemp(dir=folder)) for contestant in everyone}
        for case in CASES if number else CASES[:1]:
            for contestant in everyone[first:] + everyone[:first]:
                yield number, case, contestant, states[contestant.name]
        for state in states.values():
            shutil.rmtree(state)


@dataclass(frozen=True, slots=True)
class Result:
    """The medians of one case and contestant, their ratios to one plain process, and the limit on the wall seconds."""

    style: str
    case: str
    contestant: str
    wall_seconds: float
    cpu_seconds: float
    wall_ratio: float
    cpu_ratio: float
    target: str = ""
    limit_seconds: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the wall seconds stay within the limit, if there is one."""
        if self.limit_seconds is None:
            return ""
        return "met" if self.wall_seconds <= self.limit_seconds else "missed"

    def cells(self) -> list[str]:
        """Format the result as a row of the table."""
        seconds = [f"{self.wall_seconds:.2f}", f"{self.cpu_seconds:.2f}"]
        ratios = [f"{self.wall_ratio:.2f}", f"{self.cpu_ratio:.2f}"]
        return [self.style, self.case, self.contestant, *seconds, *ratios, self.target, self.verdict]


HEADER = ["style", "case", "contestant", "wall s", "CPU s", "wall ratio", "CPU ratio", "target", ""]


def compare(style: Style, costs: Costs) -> list[Result]:
    """Compare the contestants' medians, case by case."""
    results: list[Result] = []
    for case, target in zip(CASES, style.targets, strict=True):
        medians = {
            name: (median(cost.wall_seconds for cost in many), median(cost.cpu_seconds for cost in many))
            for (of_case, name), many in costs.items()
            if of_case == case
        }
        if PLAIN not in medians:
            continue
        plain_wall, plain_cpu = medians[PLAIN]
        targets: dict[str, tuple[str, float | None]] = {RUNNING: (f"ratio <= {target}", target * plain_wall)}
        if RUNNING in medians:
            limit_seconds = medians[RUNNING][0] + TEMPORARY_SERVER_SECONDS
            targets[TEMPORARY] = (f"<= running + {TEMPORARY_SERVER_SECONDS:.0f} s", limit_seconds)
        results += [
            Result(
                style=style.name,
                case=case.name,
                contestant=name,
                wall_seconds=wall,
                cpu_seconds=cpu,
                wall_ratio=wall / plain_wall,
                cpu_ratio=cpu / plain_cpu,
                target=targets.get(name, ("", None))[0],
                limit_seconds=targets.get(name, ("", None))[1],
            )
            for name, (wall, cpu) in sorted(medians.items(), key=lambda item: ORDER.index(item[0]))
        ]
    return results


def main() -> int:
    """Measure, print the table (or JSON), and return 1 if a contestant failed to run, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5, help="counted rounds (default: 5)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    args = parser.parse_args()
    signal.signal(
        signal.SIGTERM, lambda number, frame: sys.exit("stopped")
    )  # as an exception, so that the server stops too
    results: list[Result] = []
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="tandem-bench-", ignore_cleanup_errors=True) as folder:
        try:
            with prefect_server(Path(folder)) as api_url:
                for style in STYLES:
                    costs, failed = measure_all(style, args.repeat, Path(folder), api_url)
                    results += compare(style, costs)
                    failures |= {f"{style.name}: {name}": reason for name, reason in failed.items()}
        except CommandError as error:
            sys.exit(str(error))
    if args.json:
        rows = [asdict(result) | {"verdict": result.verdict} for result in results]
        print(json.dumps({"repeat": args.repeat, "results": rows, "failures": failures}, indent=2))
    else:
        print(table(HEADER, 3, [result.cells() for result in results]))
        print(f"\nMedians of {args.repeat}. CPU leaves out the running server's own.")
        for name, reason in failures.items():
            print(f"\n{name} failed:\n{reason}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
