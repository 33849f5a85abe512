"""``tandem``: run an Azure ML job or pipeline YAML on this machine, or look at what was run."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

EXAMPLES = """
examples:
  tandem run aml_steps/train_pipeline.yml
  tandem run aml_steps/train_pipeline.yml --set inputs.reg_rate=0.1 --output-dir outputs/run
  tandem serve
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    parsed = _parser().parse_args(arguments)
    from flows.commands import exit_code_of

    return exit_code_of(lambda: parsed.command(parsed))


def _run(parsed: argparse.Namespace) -> int:
    from flows.commands import Run, check_writable, run_flow
    from flows.file_request import FileParameters, file_request, settings_of
    from flows.runs import RunOutcome
    from flows.summary import outcome_as_json, outcome_as_text

    if parsed.output_dir:
        check_writable("--output-dir", Path(parsed.output_dir))
    parameters = FileParameters(
        file=parsed.file,
        inputs=settings_of(parsed.set),
        output_dir=parsed.output_dir,
        engine=parsed.engine,
        force_rerun=parsed.force_rerun,
    )
    run = Run(
        parameters,
        lambda parameters, settings: file_request(parameters, settings, flow_run_id=""),
        "flows.run_file:run_file",
    )
    outcome: RunOutcome = run_flow(run, quiet=parsed.json)
    print(outcome_as_json(outcome) if parsed.json else outcome_as_text(outcome))
    return 0


def _serve(parsed: argparse.Namespace) -> int:
    from flows.serve import serve

    return serve(parsed.prefect_port, parsed.mlflow_port)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tandem",
        description="One Azure ML pipeline definition, run on your laptop or on Azure ML.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="Run a job or pipeline YAML.")
    run.set_defaults(command=_run)
    run.add_argument("file", metavar="FILE.yml", help="Azure ML job or pipeline YAML.")
    run.add_argument("--set", action="append", default=[], metavar="inputs.NAME=VALUE", help="A new value of an input.")
    run.add_argument("--output-dir", metavar="DIR", help="Copy the outputs to DIR/outputs/NAME.")
    run.add_argument("--engine", choices=("auto", "local", "azureml"), default="auto", help="Where it runs.")
    run.add_argument("--force-rerun", action="store_true", help="Run every step, even if nothing has changed.")
    run.add_argument("--json", action="store_true", help="Print the outcome as JSON on standard output.")
    serve = commands.add_parser("serve", help="Show the local runs: a Prefect server and the MLflow UI.")
    serve.set_defaults(command=_serve)
    serve.add_argument("--prefect-port", type=int, default=4200, metavar="PORT")
    serve.add_argument("--mlflow-port", type=int, default=5000, metavar="PORT")
    return parser


if __name__ == "__main__":
    sys.exit(main())
