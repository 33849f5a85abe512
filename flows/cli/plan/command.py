"""``tandem plan`` and ``tandem why``: what would run, and why; and why a step ran. Nothing is started."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flows.any_yaml.bound import bound_job, settings_from_pairs
from flows.any_yaml.local_data import as_far_as_local
from flows.cli.plan.mermaid import flowchart
from flows.cli.plan.text import plan_as_json, plan_as_text
from flows.cli.plan.why import explain, explanation_as_text
from flows.data.given import given_assets
from flows.engines.plan.interpreter import python_named
from flows.engines.plan.job import JobPlan, plan_job
from flows.engines.plan.output_places import OutputFolders, output_places
from flows.settings import Settings

REFUSED = 2  # the exit code where a step cannot run here


def plan_file(
    file: str,
    pairs: Sequence[str] = (),
    *,
    assets: Sequence[str] = (),
    output_dir: str | None = None,
    allow_output: Sequence[str] = (),
    force_rerun: bool = False,
    python: str | None = None,
    as_mermaid: bool = False,
    as_json: bool = False,
) -> int:
    """Print what ``tandem run`` would do with a file and these inputs, and return the exit code."""
    given, settings = given_assets(assets, Path(file)), Settings.from_environment()
    spec = bound_job(file, settings_from_pairs(pairs), given.components)
    interpreter = None if python is None else python_named(python)
    folders = OutputFolders.of(spec.source, settings.home, output_dir, allow_output)
    plan = plan_job(as_far_as_local(spec, given, settings), settings, force_rerun, interpreter)
    plan = replace(plan, writes=output_places(spec, folders), output_dir=output_dir)
    if as_mermaid:
        print(f"```mermaid\n{flowchart(plan, spec)}\n```")
    elif as_json:
        print(json.dumps(plan_as_json(plan), indent=2))
    else:
        print(plan_as_text(plan, _next_command(plan, file, pairs, assets, allow_output, force_rerun, python)))
    return REFUSED if plan.refused or plan.refused_writes else 0


def why_step(step: str, job: str | None = None, *, as_json: bool = False) -> int:
    """Print why a step of the last job (or of another) ran or was reused, and return the exit code."""
    found = explain(Settings.from_environment(), step, job)
    print(json.dumps(found.as_json(), indent=2) if as_json else explanation_as_text(found))
    return 0


def _next_command(
    plan: JobPlan,
    file: str,
    pairs: Sequence[str],
    assets: Sequence[str],
    allow_output: Sequence[str],
    force_rerun: bool,
    python: str | None,
) -> list[str]:
    """What to type next: the run, or once more the plan where a step cannot run yet."""
    flags = [word for pair in pairs for word in ("--set", pair)]
    flags += [word for pair in assets for word in ("--asset", pair)]
    flags += [] if plan.output_dir is None else ["--output-dir", plan.output_dir]
    refused = [os.path.realpath(place.path) for place in plan.refused_writes]
    flags += [word for folder in dict.fromkeys((*allow_output, *refused)) for word in ("--allow-output", folder)]
    flags += ["--force-rerun"] if force_rerun else []
    flags += [] if python is None else ["--python", python]
    return ["tandem", "validate" if plan.refused else "run", file, *([] if plan.refused else flags)]
