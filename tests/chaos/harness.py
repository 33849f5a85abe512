"""Kill, stop and race commands, and check what must hold afterwards. The same seed and number do the same again."""

import argparse
import json
import shutil
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from multiprocessing.util import Finalize
from pathlib import Path

from tests.chaos.invariants import violations
from tests.chaos.plan import Case, case, cases
from tests.chaos.processes import become_reaper, end_with_parent
from tests.chaos.report import Result, table
from tests.chaos.run_case import Bench, run_case
from tests.chaos.templates import Templates, digest_of_project
from tests.chaos.world import PROJECT

STATES = PROJECT / "outputs" / "chaos"  # prepared states, which the next `make chaos` on the same code finds there

_bench: list[Bench] = []


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases; 1 if any invariant is violated."""
    parsed = _parser().parse_args(arguments)
    wanted = _wanted(parsed)
    if parsed.list:
        print(*wanted, sep="\n")
        return 0
    folder = Path(tempfile.mkdtemp(prefix="tandem-chaos-"))
    began = time.monotonic()
    templates = Templates(STATES / digest_of_project())
    # In a process of its own: what the commands leave behind becomes a child of the process that runs the case.
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=become_reaper) as one:
        templates = one.submit(_prepared, templates, {found.scenario.state for found in wanted}).result()
    for other in STATES.iterdir():  # of code that is no more
        if other.name != digest_of_project():
            shutil.rmtree(other, ignore_errors=True)
    print(f"{len(wanted)} cases in {folder}; states prepared in {time.monotonic() - began:.0f} s", flush=True)
    results = _run_all(wanted, templates, folder, parsed.at_once, Path(parsed.record) if parsed.record else None)
    print(table(results))
    if not any(result.violated for result in results):
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    return 1


def _wanted(parsed: argparse.Namespace) -> list[Case]:
    if parsed.case:
        return [case(parsed.seed, number) for number in parsed.case]
    found = cases(parsed.seed, range(parsed.start, parsed.start + 50 * parsed.runs), parsed.engine)
    if not parsed.scenario:
        return found[: parsed.runs]
    return [
        one for name in parsed.scenario for one in [one for one in found if one.scenario.name == name][: parsed.runs]
    ]


def _prepared(templates: Templates, states: set[str]) -> Templates:
    templates.prepare(states)
    return templates


def _run_all(
    wanted: Sequence[Case], templates: Templates, folder: Path, at_once: int, record: Path | None
) -> list[Result]:
    results: list[Result] = []
    pool = ProcessPoolExecutor(at_once, get_context("spawn"), initializer=_begin, initargs=(templates, folder))
    with pool:
        for done in as_completed([pool.submit(_one, each) for each in wanted]):
            result = done.result()
            results.append(result)
            print(result, flush=True)
            if record is not None:
                with record.open("a") as file:
                    file.write(json.dumps(asdict(result)) + "\n")
    return sorted(results, key=lambda result: result.case.number)


def _begin(templates: Templates, folder: Path) -> None:
    become_reaper()
    end_with_parent()
    _bench.append(Bench(templates, folder))
    Finalize(None, _bench[0].close, exitpriority=10)  # a process of the pool ends without `atexit`


def _one(wanted: Case) -> Result:
    """Run a case, and take its folder away if all holds. What goes wrong in the harness itself is a violation, too."""
    (bench,) = _bench
    folder = bench.folder / f"case-{wanted.number}"
    began = time.monotonic()
    try:
        facts = run_case(wanted, bench, folder)
        violated = violations(facts)
    except Exception:
        told = {"harness": [traceback.format_exc(limit=-4)]}
        return Result(wanted, "not judged", "", told, time.monotonic() - began, str(folder))
    result = Result.of(facts, violated, time.monotonic() - began, str(folder))
    if not violated:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=60, help="how many cases of the engine")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=int, default=0, help="the number of the first case")
    parser.add_argument("--engine", choices=("local", "azureml", "both"), default="both")
    parser.add_argument("--case", type=int, nargs="*", help="these cases alone")
    parser.add_argument("--scenario", nargs="*", help="so many cases of each of these scenarios alone")
    parser.add_argument("--at-once", type=int, default=1, help="how many cases run at once")
    parser.add_argument("--record", help="a file to which each result is added as a line of JSON")
    parser.add_argument("--list", action="store_true", help="print the cases, and run none")
    return parser
