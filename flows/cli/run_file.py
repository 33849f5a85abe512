"""``tandem run``: run the job of a YAML file, and print its outcome."""

import os
from pathlib import Path
from typing import Any

from flows.any_yaml.bound import settings_from_pairs
from flows.any_yaml.outcome import FileOutcome, outcome_as_json, outcome_as_text
from flows.any_yaml.request import FileParameters, file_request
from flows.cli.options import RunOptions
from flows.cli.run import Run, check_writable, run_flow
from flows.errors import StepFailed


def run_yaml(options: RunOptions) -> int:
    """Run the flow behind ``tandem run``, print the outcome of its job, and return the exit code.

    Raises:
        TandemError: It did not complete. The outcome is printed before, if there is one.
    """
    if options.output_dir:
        check_writable("--output-dir", Path(options.output_dir))
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
    )
    run = Run(
        parameters,
        lambda parameters, settings: file_request(parameters, settings, flow_run_id=""),
        _flow,
    )
    told = outcome_as_json if options.json else outcome_as_text
    try:
        outcome: FileOutcome = run_flow(run, quiet=options.json)
    except StepFailed as error:
        if isinstance(error.outcome, FileOutcome):
            print(told(error.outcome))
        raise
    print(told(outcome))
    return 0


def _flow() -> Any:
    """Imported late, since it brings Prefect."""
    from flows.any_yaml.run_file import run_file

    return run_file
