"""What the local engine and its planner cost, beside steps that cost nothing: random graphs of many small steps.

The overhead of a run is its wall time without what the steps themselves took, which is the shortest time in which their
graph can be run 8 steps at a time, and without what a job of one such step takes: what is left, for each step. A step
says itself when it began and ended, so that starting its process counts as overhead, and so does running fewer at a
time. The plan is of a pipeline all of whose steps are reused, as the whole command from start to exit.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from bench import BIN, environment, prefect_server
from graphs import most_at_once, random_graph, shortest_seconds, write_pipeline
from measure import CommandError, measure, table

from flows.engines.plan.steps import Planner
from flows.engines.plan.store import StepRecord
from flows.settings import Settings
from flows.spec.bind import bind
from flows.spec.graph import order
from flows.spec.model.job import StepOutput
from flows.spec.reading.reader import read_job

STEP_SECONDS = 0.1
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Overhead:
    """What one run of a random graph took.

    Attributes:
        at_once: How many steps ran at once, at most.
        own_seconds: What the steps alone take, 8 at once.
        start_seconds: What a job of one step takes without it.
        step_milliseconds: What is left of the wall time, for each step.
    """

    steps: int
    at_once: int
    wall_seconds: float
    own_seconds: float
    start_seconds: float
    step_milliseconds: float


@dataclass(frozen=True, slots=True)
class Planning:
    """What ``tandem plan`` took for so many reused steps: the median of the wall seconds."""

    steps: int
    wall_seconds: float


def run_graph(size: int, folder: Path, api_url: str) -> tuple[float, int, float]:
    """Run a random graph; return the wall seconds, how many steps ran at once, and what the steps alone take."""
    graph = random_graph(size)
    file = write_pipeline(graph, STEP_SECONDS, folder / "project")
    variables = environment(folder) | {"PREFECT_API_URL": api_url}
    wall_seconds = measure([BIN / "tandem", "run", file], folder, variables).wall_seconds
    outputs = (folder / "tandem" / "jobs").glob("*/steps/*/outputs/out")
    times = {path.parts[-3]: path.read_text().split() for path in outputs}
    if times.keys() != graph.keys():
        raise CommandError(f"{len(times)} of {size} steps delivered")
    spans = [(float(began), float(ended)) for began, ended in times.values()]
    seconds = {name: ended - began for name, (began, ended) in zip(times, spans, strict=True)}
    return wall_seconds, most_at_once(spans), shortest_seconds(graph, seconds, AT_ONCE)


def measure_overhead(size: int, repeat: int, folder: Path) -> Overhead:
    """Run a random graph of so many steps; the run with the median overhead of ``repeat``."""
    with prefect_server(folder) as api_url:
        found: list[Overhead] = []
        for number in range(repeat + 1):  # the first is not counted: it warms byte code and disk caches
            state = Path(tempfile.mkdtemp(dir=folder))
            wall_seconds, _, own_seconds = run_graph(1, state / "one", api_url)
            start_seconds = wall_seconds - own_seconds
            if number == 0:
                continue
            wall_seconds, at_once, own_seconds = run_graph(size, state / "all", api_url)
            step_milliseconds = 1000 * (wall_seconds - own_seconds - start_seconds) / size
            found.append(Overhead(size, at_once, wall_seconds, own_seconds, start_seconds, step_milliseconds))
            print(f"run {number}: {step_milliseconds:.1f} ms a step", file=sys.stderr)
            shutil.rmtree(state)
    return sorted(found, key=lambda overhead: overhead.step_milliseconds)[len(found) // 2]


def deliver_all(file: Path, variables: Mapping[str, str]) -> None:
    """Write down every step of a pipeline as run, without running any."""
    settings = Settings.from_environment(variables)
    spec = bind(read_job(file), {})
    planner = Planner(spec, settings)
    delivered: dict[StepOutput, Path] = {}
    for name in order(spec):
        plan = planner.plan(spec.steps[name], delivered)
        place = settings.jobs / "job" / "steps" / name / "outputs" / "out"
        place.parent.mkdir(parents=True)
        place.write_text(name)
        outputs = {"out": planner.store.stored(place)}
        planner.store.save(StepRecord(plan.key, name, "job", plan.fingerprint, outputs, "log.txt", 0.0))
        delivered[StepOutput(name, "out")] = place


def measure_plan(size: int, repeat: int, folder: Path) -> Planning:
    """Plan a random graph all of whose steps are reused.

    Raises:
        CommandError: The plan is to run one.
    """
    file = write_pipeline(random_graph(size), 0.0, folder / "project")
    variables = environment(folder)
    deliver_all(file, variables)
    taken = [
        measure([BIN / "tandem", "plan", "--json", file], folder, variables).wall_seconds for _ in range(repeat + 1)
    ]
    counts = json.loads((folder / "log.txt").read_text())["counts"]
    if counts["reuse"] != size:
        raise CommandError(f"of {size} steps, {counts['reuse']} would be reused")
    return Planning(size, median(taken[1:]))


def main() -> int:
    """Measure, print the table (or JSON), and return 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help="steps to run (default: 200)")
    parser.add_argument("--reused", type=int, default=1000, help="reused steps to plan (default: 1000)")
    parser.add_argument("--repeat", type=int, default=3, help="counted rounds (default: 3)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("stopped"))
    with tempfile.TemporaryDirectory(prefix="tandem-bench-", ignore_cleanup_errors=True) as folder:
        try:
            overhead = measure_overhead(args.steps, args.repeat, Path(tempfile.mkdtemp(dir=folder)))
            planning = measure_plan(args.reused, args.repeat, Path(tempfile.mkdtemp(dir=folder)))
        except CommandError as error:
            sys.exit(str(error))
    if args.json:
        print(json.dumps({"run": asdict(overhead), "plan": asdict(planning)}, indent=2))
        return 0
    header = ["", "steps", "at once", "wall s", "steps alone s", "start s", "overhead ms a step"]
    rows = [
        [
            "run",
            f"{overhead.steps:,}",
            str(overhead.at_once),
            f"{overhead.wall_seconds:.2f}",
            f"{overhead.own_seconds:.2f}",
            f"{overhead.start_seconds:.2f}",
            f"{overhead.step_milliseconds:.1f}",
        ],
        ["plan, all reused", f"{planning.steps:,}", "", f"{planning.wall_seconds:.2f}", "", "", ""],
    ]
    print(table(header, 1, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
