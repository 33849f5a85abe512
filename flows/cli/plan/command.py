"""``tandem plan`` and ``tandem why``: print what a run would do, or why a step of an earlier one ran."""

import json
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from flows.any_yaml.bound import bound_job, settings_from_pairs
from flows.any_yaml.local_data import as_far_as_local
from flows.any_yaml.selection.graph import selected
from flows.any_yaml.selection.here import part_here
from flows.any_yaml.selection.part import Part, PartAsked
from flows.cli.options import PlanOptions
from flows.cli.plan.against import checkout_as_run
from flows.cli.plan.markdown import plan_as_markdown
from flows.cli.plan.mermaid import flowchart
from flows.cli.plan.text import plan_as_json, plan_as_text
from flows.cli.plan.why import explain, explanation_as_text
from flows.data.given import given_assets
from flows.engines.local.host.preload import preloaded_modules
from flows.engines.local.host.seen_imports import SeenImports
from flows.engines.local.keys.in_files import unlike_azure_ml
from flows.engines.plan.interpreter import python_named
from flows.engines.plan.job import JobPlan, plan_job
from flows.engines.plan.output_places import OutputFolders, output_places
from flows.errors import ParameterError
from flows.settings import Settings
from flows.spec.model.job import JobSpec

REFUSED = 2  # the exit code where a step cannot run here


def plan_file(options: PlanOptions) -> int:
    """Print what ``tandem run`` would do with a file and these inputs, and return the exit code."""
    given, settings = given_assets(options.assets, Path(options.file)), Settings.from_environment()
    whole = bound_job(options.file, settings_from_pairs(options.inputs), given.components)
    part = _part(whole, options, settings)
    spec = whole if part is None else selected(whole, part.chosen, part.delivered)
    interpreter = None if options.python is None else python_named(options.python)
    folders = OutputFolders.of(spec.source, settings.home, options.output_dir, options.allow_output)
    against = nullcontext() if options.against is None else checkout_as_run(options, spec.source, settings, interpreter)
    with against as baseline:
        local = as_far_as_local(spec, given, settings)
        plan = plan_job(local, settings, options.force_rerun, interpreter, baseline)
    seen, running = SeenImports(settings.home), [it.step for it in plan.steps if it.plan and not it.plan.reused]
    preloaded = {step.name: preloaded_modules(step, seen) for step in running}
    writes = output_places(spec, folders)
    plan = replace(plan, writes=writes, output_dir=options.output_dir, preloaded=preloaded)
    if options.markdown:
        print(plan_as_markdown(plan, spec))
    elif options.mermaid:
        print(f"```mermaid\n{flowchart(plan, spec)}\n```")
    elif options.json:
        print(json.dumps(plan_as_json(plan, unlike_azure_ml(plan.spec)), indent=2))
    else:
        print(plan_as_text(plan, _next_command(plan, options), unlike_azure_ml(plan.spec)))
    return REFUSED if plan.refused or plan.refused_writes else 0


def _part(whole: JobSpec, options: PlanOptions, settings: Settings) -> Part | None:
    """The steps that are asked for, with what an earlier job on this machine has delivered."""
    asked = PartAsked(options.only, options.from_step, options.job)
    if str(asked) and options.against is not None:
        raise ParameterError("--against compares the whole job. Leave out --only and --from.")
    return part_here(whole, asked, settings)


def why_step(step: str, job: str | None = None, *, as_json: bool = False) -> int:
    """Print why a step of the last job (or of another) ran or was reused, and return the exit code."""
    found = explain(Settings.from_environment(), step, job)
    print(json.dumps(found.as_json(), indent=2) if as_json else explanation_as_text(found))
    return 0


def _next_command(plan: JobPlan, options: PlanOptions) -> list[str]:
    """What to type next: ``tandem run`` with the flags of the plan; ``tandem validate`` where a step cannot run."""
    flags = [word for pair in options.inputs for word in ("--set", pair)]
    flags += [word for pair in options.assets for word in ("--asset", pair)]
    flags += [] if options.output_dir is None else ["--output-dir", options.output_dir]
    refused = [os.path.realpath(place.path) for place in plan.refused_writes]
    allowed = dict.fromkeys((*options.allow_output, *refused))
    flags += [word for folder in allowed for word in ("--allow-output", folder)]
    parts = {"--only": options.only, "--from": options.from_step, "--job": options.job}
    flags += [word for flag, value in parts.items() if value is not None for word in (flag, value)]
    flags += ["--force-rerun"] if options.force_rerun else []
    flags += [] if options.python is None else ["--python", options.python]
    return ["tandem", "validate" if plan.refused else "run", options.file, *([] if plan.refused else flags)]
