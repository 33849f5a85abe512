"""``tandem run``: run the job of a YAML file or a part of it, and print its outcome."""

import os
from pathlib import Path
from typing import Any

from flows.any_yaml.bound import settings_from_pairs
from flows.any_yaml.outcome import FileOutcome, outcome_as_json, outcome_as_text
from flows.any_yaml.request import FileParameters, file_request, whole_job
from flows.any_yaml.selection.here import part_here
from flows.any_yaml.selection.submitted import Submitted, read_submitted
from flows.cli.options import RunOptions
from flows.cli.run import Run, check_writable, run_flow
from flows.engines.local.earlier_jobs import ended_outcome
from flows.engines.plan.definition import definition_parts
from flows.engines.runs import PipelineRequest
from flows.errors import ParameterError, StepFailed
from flows.settings import Settings
from flows.training.parameters import validated


def run_yaml(options: RunOptions) -> int:
    """Run the flow behind ``tandem run``, print the outcome of its job, and return the exit code.

    Raises:
        TandemError: It did not complete. The outcome is printed before, if there is one.
    """
    if options.output_dir:
        check_writable("--output-dir", Path(options.output_dir))
    parameters, settings = _parameters(options), Settings.from_environment()
    is_elsewhere = parameters.job is not None and ended_outcome(settings.jobs / parameters.job) is None
    # What a job of the workspace has delivered is brought here by the flow: until then, nothing is known of the steps.
    run = Run(parameters, None if is_elsewhere and not settings.missing_workspace else _request, _flow)
    told = outcome_as_json if options.json else outcome_as_text
    try:
        outcome: FileOutcome = run_flow(run, quiet=options.json)
    except StepFailed as error:
        if isinstance(error.outcome, FileOutcome):
            print(told(error.outcome))
        raise
    print(told(outcome))
    return 0


def _parameters(options: RunOptions) -> FileParameters:
    record = None if options.resume is None else read_submitted(Settings.from_environment(), options.resume)
    if record is not None:
        return _as_submitted(options, record)
    if options.file is None:
        raise ParameterError(_no_file(options.resume))
    parameters = FileParameters(
        file=options.file,
        inputs=settings_from_pairs(options.inputs),
        assets=options.assets,
        python=options.python,
        output_dir=options.output_dir,
        allow_output=tuple(map(os.path.abspath, options.allow_output)),
        engine=options.engine,
        tracking=options.tracking,
        force_rerun=options.force_rerun,
        only=options.only,
        from_step=options.from_step,
        job=options.job,
        resume=options.resume,
    )
    _ = parameters.part  # flags that exclude each other are refused here
    return parameters


def _as_submitted(options: RunOptions, record: Submitted) -> FileParameters:
    """What the job before was asked for, which is all that the one after it may be asked for.

    Raises:
        ParameterError: Something else is asked for, or the definition has changed since.
    """
    what = f"--resume {options.resume}"
    given = {
        "--set": options.inputs,
        "--asset": options.assets,
        "--python": options.python,
        "--force-rerun": options.force_rerun,
        "--job": options.job,
        "FILE.yml": options.file is not None and os.path.abspath(options.file) != record.parameters["file"],
        "--engine": options.engine not in ("auto", record.engine),
        "--tracking": options.tracking
        not in (FileParameters.model_fields["tracking"].default, record.parameters["tracking"]),
    }
    file = record.parameters["file"]
    if differing := [flag for flag, value in given.items() if value]:
        raise ParameterError(
            f"{what}: the job goes on with what it was submitted with: {file} on the engine {record.engine}. Nothing "
            f"was run. Leave out {' and '.join(differing)}, or run it anew: tandem run {file}"
        )
    outputs = options.output_dir or record.parameters["output_dir"]
    allowed = (*record.parameters["allow_output"], *map(os.path.abspath, options.allow_output))
    own = {"engine": record.engine, "output_dir": outputs, "allow_output": allowed, "resume": options.resume}
    parts = {"only": None, "from_step": None, "job": None}  # which the job itself says
    parameters = validated(FileParameters, {**record.parameters, **parts, **own})
    if changed := record.changed(definition_parts(whole_job(parameters))):
        raise ParameterError(
            f"{what}: what the job was made from has changed since: {', '.join(changed)} (beside {file}). Nothing was "
            f"run. Put back what was submitted, or run what is there now: tandem run {file}"
        )
    return parameters


def _no_file(resume: str | None) -> str:
    if resume is None:
        return "Name what to run: tandem run FILE.yml, or tandem run --resume JOB after a job that has failed."
    return (
        f"--resume {resume}: this machine has no record of a job {resume}. Nothing was run. If it was submitted from "
        f"another machine, name its file, with the same --set: tandem run FILE.yml --resume {resume}"
    )


def _request(parameters: FileParameters, settings: Settings) -> PipelineRequest:
    """What is known of a job on this machine before anything runs."""
    asked = parameters.part
    part = part_here(whole_job(parameters), asked, settings) if str(asked) else None
    return file_request(parameters, settings, flow_run_id="", part=part)


def _flow() -> Any:
    """Imported late, since it brings Prefect."""
    from flows.any_yaml.run_file import run_file

    return run_file
