"""``tandem``: run an Azure ML job or pipeline YAML on this machine, or look at what was run."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flows.cli.terminal import interrupts

_FILES = {"bash": "_shtab_compgen_files", "zsh": "_files"}  # shtab.FILE, without importing it for every command
EXAMPLES = """
examples:
  tandem run aml_steps/train_pipeline.yml
  tandem run aml_steps/train_pipeline.yml --set inputs.reg_rate=0.1 --output-dir outputs/run
  tandem run job.yml --asset azureml:titanic:1=titanic.csv --python ~/old/bin/python
  tandem validate aml_steps/*.yml
  tandem serve
  tandem doctor
  tandem state check
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    if arguments is None:
        interrupts.handle_interrupts()
    parsed = _parser().parse_args(arguments)
    from flows.cli.terminal.exit_codes import exit_code_of
    from flows.machine.private import keep_private

    def command() -> int:
        keep_private()
        return parsed.command(parsed)

    return exit_code_of(command)


def _run(parsed: argparse.Namespace) -> int:
    from flows.any_yaml.bound import settings_from_pairs
    from flows.any_yaml.request import FileParameters, file_request
    from flows.cli.run import Run, check_writable, run_flow
    from flows.engines.plan.interpreter import python_named
    from flows.engines.runs import RunOutcome
    from flows.errors import StepFailed
    from flows.training.summary import outcome_as_json, outcome_as_text

    if parsed.output_dir:
        check_writable("--output-dir", Path(parsed.output_dir))
    parameters = FileParameters(
        file=parsed.file,
        inputs=settings_from_pairs(parsed.set),
        assets=tuple(parsed.asset),
        python=parsed.python,
        output_dir=parsed.output_dir,
        allow_output=tuple(map(os.path.abspath, parsed.allow_output)),
        engine=parsed.engine,
        tracking=parsed.tracking,
        force_rerun=parsed.force_rerun,
    )
    run = Run(
        parameters,
        lambda parameters, settings: file_request(parameters, settings, flow_run_id=""),
        _flow_of_files,
        None if parsed.python is None else python_named(parsed.python),
    )
    try:
        outcome: RunOutcome = run_flow(run, quiet=parsed.json)
    except StepFailed as error:
        if isinstance(error.outcome, RunOutcome):
            print(outcome_as_json(error.outcome) if parsed.json else outcome_as_text(error.outcome))
        raise
    print(outcome_as_json(outcome) if parsed.json else outcome_as_text(outcome))
    return 0


def _flow_of_files() -> Any:
    from flows.any_yaml.run_file import run_file

    return run_file


def _plan(parsed: argparse.Namespace) -> int:
    from flows.cli.plan.command import plan_file

    return plan_file(
        parsed.file,
        parsed.set,
        assets=parsed.asset,
        output_dir=parsed.output_dir,
        allow_output=parsed.allow_output,
        force_rerun=parsed.force_rerun,
        python=parsed.python,
        as_mermaid=parsed.mermaid,
        as_json=parsed.json,
    )


def _why(parsed: argparse.Namespace) -> int:
    from flows.cli.plan.command import why_step

    return why_step(parsed.step, parsed.job, as_json=parsed.json)


def _serve(parsed: argparse.Namespace) -> int:
    from flows.cli.serve import serve

    with interrupts.raised():
        return serve(parsed.prefect_port, parsed.mlflow_port)


def _validate(parsed: argparse.Namespace) -> int:
    from flows.cli.validate import validate

    return validate(parsed.files, as_json=parsed.json, pairs=parsed.asset)


def _watch(parsed: argparse.Namespace) -> int:
    from flows.cli.watch import watch

    names = ("data_asset_name", "model_name", "psi_threshold", "significance", "min_rows", "engine")
    return watch({name: getattr(parsed, name) for name in names}, as_json=parsed.json)


def _register_data(parsed: argparse.Namespace) -> int:
    from flows.cli.data import register_data

    with interrupts.raised():
        return register_data(parsed.file, parsed.name, parsed.engine, as_json=parsed.json)


def _create_compute(parsed: argparse.Namespace) -> int:
    tier = "low_priority" if parsed.low_priority else None
    asked = {"name": parsed.name, "size": parsed.size, "max_instances": parsed.max_instances, "tier": tier}
    changes = {key: value for key, value in asked.items() if value is not None}
    from flows.cli.compute import create_compute

    with interrupts.raised():
        return create_compute(changes, as_json=parsed.json)


def _completion(parsed: argparse.Namespace) -> int:
    import shtab

    print(shtab.complete(_parser(), parsed.shell))
    return 0


def _doctor(parsed: argparse.Namespace) -> int:
    from flows.cli.doctor.examination import doctor

    with interrupts.raised():
        return doctor(as_json=parsed.json)


def _state(parsed: argparse.Namespace) -> int:
    from flows.cli.state import commands

    actions: dict[str, Callable[..., int]] = {
        "check": commands.check_command,
        "repair": commands.repair_command,
        "clean": commands.clean,
    }
    return actions[parsed.action](as_json=parsed.json)


def _reap(parsed: argparse.Namespace) -> int:
    from flows.cli.reap.command import ReapOptions, reap

    with interrupts.raised():
        return reap(ReapOptions(parsed.yes, parsed.unknown_too, parsed.older_than, parsed.json))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tandem",
        description="One Azure ML pipeline definition, run on your laptop or on Azure ML.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="Run a job, pipeline or component YAML.")
    run.set_defaults(command=_run)
    _add_file(run, "file", metavar="FILE.yml", help="Azure ML job, pipeline or component YAML.")
    run.add_argument("--set", action="append", default=[], metavar="inputs.NAME=VALUE", help="A new value of an input.")
    _add_asset(run)
    _add_outputs(run)
    run.add_argument("--python", metavar="PATH", help="The interpreter that runs the steps on this machine.")
    run.add_argument("--engine", choices=("auto", "local", "azureml"), default="auto", help="Where it runs.")
    run.add_argument(
        "--tracking",
        choices=("local", "azureml"),
        default="local",
        help="Where MLflow keeps the runs of the local engine; azureml is the workspace.",
    )
    run.add_argument("--force-rerun", action="store_true", help="Run every step, even if nothing has changed.")
    run.add_argument("--json", action="store_true", help="Print the outcome as JSON on standard output.")
    validate = commands.add_parser("validate", help="Say all that is wrong with YAML files, before anything runs.")
    validate.set_defaults(command=_validate)
    _add_file(validate, "files", nargs="+", metavar="FILE.yml", help="Azure ML job, pipeline or component YAML.")
    _add_asset(validate)
    validate.add_argument("--json", action="store_true", help="Print the findings as JSON on standard output.")
    plan = commands.add_parser("plan", help="Show what would run and what would be reused, and why.")
    plan.set_defaults(command=_plan)
    _add_file(plan, "file", metavar="FILE.yml", help="Azure ML job or pipeline YAML.")
    plan.add_argument("--set", action="append", default=[], metavar="inputs.NAME=VALUE", help="Another value.")
    _add_asset(plan)
    _add_outputs(plan)
    plan.add_argument("--python", metavar="PATH", help="The interpreter that would run the steps.")
    plan.add_argument("--force-rerun", action="store_true", help="As if nothing were to be reused.")
    shown = plan.add_mutually_exclusive_group()
    shown.add_argument("--mermaid", action="store_true", help="Print the graph as a Mermaid diagram, for Markdown.")
    shown.add_argument("--json", action="store_true", help="Print the plan as JSON.")
    why = commands.add_parser("why", help="Say why a step of the last job ran, or was reused.")
    why.set_defaults(command=_why)
    why.add_argument("step", metavar="STEP", help="The name of the step.")
    why.add_argument("--job", metavar="NAME", help="Another job than the last, by its name or the beginning of it.")
    why.add_argument("--json", action="store_true", help="Print the explanation as JSON.")
    serve = commands.add_parser("serve", help="Show the local runs: a Prefect server and the MLflow UI.")
    serve.set_defaults(command=_serve)
    serve.add_argument("--prefect-port", type=int, default=4200, metavar="PORT")
    serve.add_argument("--mlflow-port", type=int, default=5000, metavar="PORT")
    watch = commands.add_parser("watch", help="Say whether incoming data has drifted from what the champion knows.")
    watch.set_defaults(command=_watch)
    _add_file(watch, "data_asset_name", nargs="?", metavar="DATA", help="A data asset or a file.")
    watch.add_argument("--model-name", metavar="NAME", help="The registered model whose champion is watched.")
    watch.add_argument("--psi-threshold", metavar="PSI", help="Least difference that counts; 0.1 by default.")
    watch.add_argument("--significance", metavar="P", help="Most probability of a false alarm; 0.01 by default.")
    watch.add_argument("--min-rows", metavar="N", help="Fewest rows that are compared; 100 by default.")
    watch.add_argument("--engine", choices=("auto", "local", "azureml"), help="Where champion and data are.")
    watch.add_argument("--json", action="store_true", help="Print the outcome as JSON on standard output.")
    data = commands.add_parser("data", help="Register data that a pipeline can be trained on.")
    register = data.add_subparsers(required=True, metavar="ACTION").add_parser(
        "register", help="Make the next version of a data asset, and tell who waits for new data."
    )
    register.set_defaults(command=_register_data)
    _add_file(register, "file", metavar="FILE", help="A CSV or Parquet file of the pipeline's columns.")
    register.add_argument("--name", default="diabetes-diagnostics", metavar="NAME", help="Of the data asset.")
    register.add_argument("--engine", choices=("auto", "local", "azureml"), default="auto", help="Where to.")
    register.add_argument("--json", action="store_true", help="Print what came of it as JSON on standard output.")
    compute = commands.add_parser("compute", help="Make the compute target that jobs run on.")
    create = compute.add_subparsers(required=True, metavar="ACTION").add_parser(
        "create", help="Make what environment/compute.yml defines in the workspace, unless it is there."
    )
    create.set_defaults(command=_create_compute)
    create.add_argument("name", nargs="?", metavar="NAME", help="Another name than the file's.")
    create.add_argument("--size", metavar="SIZE", help="Another VM size, such as STANDARD_DS3_V2.")
    create.add_argument("--max-instances", type=_count, metavar="N", help="Another number of nodes at most.")
    create.add_argument(
        "--low-priority", action="store_true", help="Cheaper nodes, which can be taken away in the middle of a job."
    )
    create.add_argument("--json", action="store_true", help="Print what came of it as JSON on standard output.")
    doctor = commands.add_parser("doctor", help="Say whether all that a run needs is there, and what to do if not.")
    doctor.set_defaults(command=_doctor)
    doctor.add_argument("--json", action="store_true", help="Print the findings as JSON on standard output.")
    reap = commands.add_parser("reap", help="List what runs in the workspace though nobody waits for it, and end it.")
    reap.set_defaults(command=_reap)
    reap.add_argument("--yes", action="store_true", help="Cancel, and wait until it is over; without it, only look.")
    reap.add_argument("--unknown-too", action="store_true", help="Also jobs of flow runs that Prefect does not know.")
    reap.add_argument("--older-than", metavar="TIME", help="Only jobs of at least this age, such as 30m, 2h or 1d.")
    reap.add_argument("--json", action="store_true", help="Print what was found as JSON on standard output.")
    state = commands.add_parser("state", help="Examine, repair or delete the local state: runs, models, databases.")
    actions = state.add_subparsers(required=True, metavar="ACTION")
    for name, said in (
        ("check", "Say whether the local state is whole, and what to do if not."),
        ("repair", "Move what is broken aside, and save what can be read of it; the models are kept."),
        ("clean", "Delete the local state, unless something runs on it."),
    ):
        action = actions.add_parser(name, help=said, description=said)
        action.set_defaults(command=_state, action=name)
        action.add_argument("--json", action="store_true", help="Print what was found or done as JSON.")
    completion = commands.add_parser("completion", help='Complete words: eval "$(tandem completion bash)".')
    completion.set_defaults(command=_completion)
    completion.add_argument("shell", choices=("bash", "zsh"), help="The shell that evaluates what is printed.")
    return parser


def _add_file(parser: argparse.ArgumentParser, name: str, **details: Any) -> None:
    """Add a positional argument for which a shell completes the names of files."""
    parser.add_argument(name, **details).complete = _FILES  # pyright: ignore[reportAttributeAccessIssue] (shtab's way)


def _add_asset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--asset",
        action="append",
        default=[],
        metavar="NAME_OR_URI=PATH",
        help="What stands in here for data or a component that is elsewhere. Also: tandem.assets.yml.",
    )


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output-dir", metavar="DIR", help="Copy outputs, logs and the outcome of the job to DIR.")
    parser.add_argument(
        "--allow-output",
        action="append",
        default=[],
        metavar="DIR",
        help="Let outputs whose path is outside of the project of FILE.yml be written to DIR.",
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
