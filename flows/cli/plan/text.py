"""A job's plan as text for a terminal, and as JSON. Pure."""

import shlex
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from flows.cli.plan.keys import keys_as_json, keys_as_rows
from flows.engines.local.keys.in_files import KeyUse
from flows.engines.plan.job import AskedEnvironment, JobPlan, PlannedStep, StepState
from flows.engines.plan.output_places import place_remedy
from flows.engines.plan.reasons import Reason, ReasonKind
from flows.engines.plan.steps import StepPlan
from flows.engines.plan.store import StepRecord
from flows.plain_text.table import aligned
from flows.spec.rules.lint import only_for_azure_ml
from flows.spec.text.words import counted

WIDTH = 100
LONGEST_NAME = 32
MOST_ALIKE = 2
MOST_NAMES = 6
_STATE_WIDTH = max(map(len, StepState))


def plan_as_text(plan: JobPlan, command: Sequence[str], keys: Sequence[KeyUse] = ()) -> str:
    """The plan as aligned lines of at most 100 columns.

    Args:
        plan: The plan.
        command: What to type next, which the last line shows.
        keys: The keys of the job's files that this machine ignores or emulates.
    """
    return "\n".join(
        [
            "",
            *_title(plan),
            "",
            *_table(plan.steps),
            *_section("Otherwise than on Azure ML:", keys_as_rows(keys, plan.spec.source)),
            *_section(f"Environments, beside this Python {plan.python}:", map(_environment, plan.environments)),
            *_section("Imported once, before the steps start:", _preloaded(plan)),
            *_section("Would write, when the job has ended:", _writes(plan)),
            *_section("Azure ML would refuse it:", _needed(plan)),
            *_section("Cannot run here:", ((step.name, step.refusal or "") for step in plan.refused)),
            "",
            *_end(plan, command),
            "",
        ]
    )


def plan_as_json(plan: JobPlan, keys: Sequence[KeyUse] = ()) -> dict[str, Any]:
    """The plan for machines, with the keys that this machine ignores or emulates."""
    return {
        "file": str(plan.spec.source),
        "name": plan.spec.display_name or plan.spec.name,
        "counts": {state.value: plan.count(state) for state in StepState},
        "steps": [_step_as_json(step) for step in plan.steps],
        "python": plan.python,
        "environments": [
            {
                "environment": asked.label,
                "steps": list(asked.steps),
                "lacks": None
                if asked.shortfalls is None
                else [{"package": it.package, "wanted": it.wanted, "found": it.found} for it in asked.shortfalls],
            }
            for asked in plan.environments
        ],
        "keys": keys_as_json(keys),
        "writes": [
            {"output": place.output, "key": str(place.key), "path": str(place.path), "refusal": place.refusal}
            for place in plan.writes
        ],
        "output_dir": plan.output_dir,
        "against": plan.against,
        "needed_by_azure_ml": [message for message, _ in _needed(plan)],
        "preloaded": {step: list(modules) for step, modules in plan.preloaded.items()},
    }


def when(ended: str) -> str:
    """A recorded time, in this machine's time zone, to the minute."""
    return datetime.fromisoformat(ended).astimezone().strftime("%Y-%m-%d %H:%M")


def earlier_run(record: StepRecord) -> str:
    """An earlier run: the name of its job, and when it ended. Another checkout, which did not run: its name."""
    return f"{record.job_name}, {when(record.ended)}" if record.ended else record.job_name


def reason_lines(reasons: Sequence[Reason], in_short: bool = False) -> list[str]:
    """A line for each reason; ``in_short``, many reasons of one cause share a line, as upstream steps always do."""
    found: dict[ReasonKind, list[Reason]] = {}
    for reason in reasons:
        found.setdefault(reason.cause, []).append(reason)
    upstream = [reason.what for reason in found.pop(ReasonKind.UPSTREAM, [])]
    lines: list[str] = []
    for alike in found.values():
        if in_short and len(alike) > MOST_ALIKE:
            lines.append(f"{alike[0]}, and {len(alike) - 1} more")
        else:
            lines += map(str, alike)
    if upstream:
        run, deliver = ("runs", "it delivers") if len(upstream) == 1 else ("run", "they deliver")
        first = f"{_names(upstream)} {run} first"
        lines.append(first if lines else f"{first}; reused if what {deliver} is the same")
    return lines


def _title(plan: JobPlan) -> Iterator[str]:
    waves = max((step.wave for step in plan.steps), default=0)
    size = f"{counted(len(plan.steps), 'step')} in {counted(waves, 'wave')}"
    against = f", as if {plan.against} had just been run" if plan.against else ""
    yield from _wrapped(f"{plan.spec.display_name or plan.spec.name}: {size}{against}")


def _table(steps: Sequence[PlannedStep]) -> list[str]:
    rows = [(str(step.wave), step.name, step.state.value, tuple(_why(step))) for step in steps]
    header = ("wave", "step", "plan", "why")
    return aligned([header, *rows], right=(0,), least=(0, 0, _STATE_WIDTH), most=LONGEST_NAME, width=WIDTH)


def _why(step: PlannedStep) -> list[str]:
    return [*_reasons(step), *([step.note] if step.note else [])]


def _reasons(step: PlannedStep) -> list[str]:
    if step.plan is None and step.state is not StepState.CANNOT_RUN:
        return []
    if step.plan is None:
        return [f"{_names(step.needs)} cannot run" if step.needs else "see below"]
    if step.plan.record is not None:
        return [f"from {earlier_run(step.plan.record)}"]
    return reason_lines(step.plan.reasons, in_short=True)


def _preloaded(plan: JobPlan) -> Iterator[tuple[str, str]]:
    for modules in filter(None, dict.fromkeys(plan.preloaded.values())):
        steps = [step for step, own in plan.preloaded.items() if own == modules]
        libraries = sorted({module.partition(".")[0] for module in modules})
        yield _steps(steps, len(plan.steps)), f"{counted(len(modules), 'module')} of {', '.join(libraries)}"


def _writes(plan: JobPlan) -> Iterator[tuple[str, str]]:
    for place in plan.writes:
        text = str(place.path)
        if place.refusal is not None:
            text = f"not allowed: {place.refusal}\n{place_remedy(place)}"
        yield place.output, text
    if plan.output_dir is not None:
        yield "all outputs and logs", plan.output_dir


def _needed(plan: JobPlan) -> Iterator[tuple[str, str]]:
    for needed in only_for_azure_ml(plan.spec):
        yield needed.message, needed.remedy


def _environment(asked: AskedEnvironment) -> tuple[str, str]:
    if asked.shortfalls is None:
        text = "its packages are not known here"
    elif not asked.shortfalls:
        text = "all that it asks for is here"
    else:
        text = "asks for " + ", ".join(map(str, asked.shortfalls))
    return asked.label, text


def _section(title: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    found = list(rows)
    if not found:
        return
    yield ""
    yield title
    cells = [(label, tuple(text.splitlines())) for label, text in found]
    yield from aligned(cells, most=LONGEST_NAME, width=WIDTH)


def _end(plan: JobPlan, command: Sequence[str]) -> Iterator[str]:
    counts = [(plan.count(state), state) for state in StepState]
    yield ", ".join(f"{number} {state.value}" for number, state in counts if number) + "."
    if plan.refused:
        yield from _wrapped(f"Nothing runs until {_names([step.name for step in plan.refused])} can.")
    elif plan.refused_writes:
        yield from _wrapped("Nothing runs until every output may be written to its place. To allow it:")
    yield f"  {shlex.join(command)}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False)


def _steps(names: Sequence[str], all_steps: int) -> str:
    return "all steps" if len(names) == all_steps and all_steps > 1 else _names(names)


def _names(names: Sequence[str]) -> str:
    if len(names) > MOST_NAMES:
        return f"{', '.join(names[: MOST_NAMES - 1])} and {len(names) - MOST_NAMES + 1} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _step_as_json(step: PlannedStep) -> dict[str, Any]:
    return {
        "name": step.name,
        "wave": step.wave,
        "plan": step.state.value,
        "upstream": sorted(step.step.upstream),
        **_decision_as_json(step.plan),
        "refusal": step.refusal,
        "needs": list(step.needs),
        "note": step.note,
    }


def _decision_as_json(plan: StepPlan | None) -> dict[str, Any]:
    known = {} if plan is None else plan.as_json()
    return {"reasons": known.get("reasons", []), "compared": known.get("compared")}
