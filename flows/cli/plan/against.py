"""Baseline of ``tandem plan --against``: the steps of another checkout, recorded as if they had just been run.

Nothing runs. Since it is not known what a step would deliver, its content key is written in place of each output; two
steps that deliver the same have the same key.
"""

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from flows.any_yaml.bound import bound_job, settings_from_pairs
from flows.any_yaml.local_data import as_far_as_local
from flows.cli.options import PlanOptions
from flows.data.given import given_assets
from flows.engines.plan.output_places import project_of
from flows.engines.plan.steps import Baseline, Planner
from flows.engines.plan.store import StepRecord
from flows.errors import ParameterError, UserError
from flows.settings import Settings
from flows.spec.graph import order
from flows.spec.model.job import JobSpec, StepOutput


@contextmanager
def checkout_as_run(
    options: PlanOptions, file: Path, settings: Settings, python: Path | None
) -> Generator[Baseline, None, None]:
    """Record the steps of the same file in the checkout ``options.against``, in a folder that is deleted at the end.

    Data assets and environments are those of that checkout too, if the project itself lies in the checkout of ``file``.
    Where that checkout has no such file, or one that is wrong, there is no record.

    Raises:
        ParameterError: There is no such folder.
    """
    assert options.against is not None
    checkout, here = Path(options.against).expanduser().resolve(), project_of(file)
    if not checkout.is_dir():
        raise ParameterError(f"--against {options.against}: there is no such folder. Name a checkout of the project.")
    other = checkout / file.resolve().relative_to(here)
    if settings.project.resolve().is_relative_to(here):
        settings = replace(settings, project=checkout / settings.project.resolve().relative_to(here))
    with tempfile.TemporaryDirectory(prefix="tandem-plan-") as folder:
        baseline = Baseline(Path(folder), checkout.name)
        try:
            given = given_assets(options.assets, other)
            spec = bound_job(str(other), settings_from_pairs(options.inputs), given.components)
        except UserError:
            yield baseline
            return
        planner = Planner(as_far_as_local(spec, given, settings), settings, python=python, baseline=baseline)
        _record(planner, baseline, file)
        yield baseline


def _record(planner: Planner, baseline: Baseline, file: Path) -> None:
    """Record every step that can be planned as a run of ``file``, as far as all that it reads is recorded."""
    delivered: dict[StepOutput, Path] = {}
    recorded: set[str] = set()
    spec: JobSpec = planner.spec
    for name in order(spec):
        step = spec.steps[name]
        if step.refusal is not None or not step.upstream <= recorded:
            continue
        try:
            plan = planner.plan(step, delivered)
        except UserError:
            continue  # the plan that is compared with this one says what is wrong, if it is wrong there too
        outputs = {output: baseline.home / plan.key / output for output in step.component.outputs}
        for output, place in outputs.items():
            place.parent.mkdir(exist_ok=True)
            place.write_text(f"{plan.key} {output}", encoding="utf-8")
        stored = {output: planner.store.stored(place) for output, place in outputs.items()}
        fingerprint = replace(plan.fingerprint, source=str(file))  # a step is compared with runs of the same file
        planner.store.save(StepRecord(plan.key, name, baseline.name, fingerprint, stored, "", 0.0, ended=""))
        delivered.update({StepOutput(name, output): place for output, place in outputs.items()})
        recorded.add(name)
