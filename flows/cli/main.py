"""The commands of ``tandem``: a name for each, and the options that it takes."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flows.cli import options
from flows.cli.flags import AlignedHelp, CommandParser, add_flags, options_of
from flows.cli.terminal import interrupts

EXAMPLES = """
examples:
  tandem run pipeline.yml
  tandem run pipeline.yml --set inputs.reg_rate=0.1 --output-dir outputs/run
  tandem run job.yml --asset azureml:titanic:1=titanic.csv --python ~/old/bin/python
  tandem validate *.yml
  tandem serve diabetes-predict
  tandem score rows.csv --output scores.csv
  tandem ui
  tandem doctor
  tandem state check
"""


class Actions(NamedTuple):
    """A command with actions. Without one, it does what ``otherwise`` says, or else nothing by itself."""

    help: str
    actions: Mapping[str, type[Any]]
    otherwise: type[Any] | None = None


VERBS: Mapping[str, type[Any] | Actions] = {
    "run": options.RunOptions,
    "validate": options.ValidateOptions,
    "plan": options.PlanOptions,
    "why": options.WhyOptions,
    "deploy": options.DeployOptions,
    "promote": options.PromoteOptions,
    "rollback": options.RollbackOptions,
    "endpoints": Actions(
        "List endpoints: their deployments, shares, models, and what they cost. With an action, do that.",
        {
            "list": options.ListEndpointsOptions,
            "key": options.EndpointKeyOptions,
            "samples": options.EndpointSamplesOptions,
            "delete": options.DeleteEndpointOptions,
        },
        options.ListEndpointsOptions,
    ),
    "serve": options.ServeOptions,
    "score": options.ScoreOptions,
    "ui": options.UiOptions,
    "watch": options.WatchOptions,
    "notify": options.NotifyOptions,
    "data": Actions("Register data that a pipeline can be trained on.", {"register": options.RegisterDataOptions}),
    "compute": Actions("Make the compute target that jobs run on.", {"create": options.CreateComputeOptions}),
    "doctor": options.DoctorOptions,
    "reap": options.ReapOptions,
    "state": Actions(
        "Examine, repair or delete the local state: runs, models, databases.",
        {
            "check": options.CheckStateOptions,
            "repair": options.RepairStateOptions,
            "clean": options.CleanStateOptions,
        },
    ),
    "completion": options.CompletionOptions,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    if arguments is None:
        interrupts.handle_interrupts()
    parsed = tandem_parser().parse_args(arguments)
    from flows.cli.terminal.exit_codes import exit_code_of
    from flows.machine.private import keep_private

    def command() -> int:
        keep_private()
        return options_of(parsed.options, parsed).run()

    return exit_code_of(command)


def tandem_parser() -> argparse.ArgumentParser:
    """The parser of all commands, which the completion is made from too."""
    parser = CommandParser(
        prog="tandem",
        description="One Azure ML pipeline definition, run on your laptop or on Azure ML.",
        epilog=EXAMPLES,
        formatter_class=_TandemHelp,
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="Print the version of Tandem, and end.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, verb in VERBS.items():
        if isinstance(verb, Actions):
            actions = commands.add_parser(name, help=verb.help, description=verb.help, formatter_class=AlignedHelp)
            if verb.otherwise is not None:
                actions.set_defaults(options=verb.otherwise)
                add_flags(actions, verb.otherwise)
            below = actions.add_subparsers(required=verb.otherwise is None, metavar="ACTION")
            if verb.otherwise is not None:  # argparse shows an action as needed, whether it is or not
                usage = actions.format_usage().removeprefix("usage: ").replace("ACTION ...", "[ACTION ...]")
                actions.usage = usage.strip()
            for action, taken in verb.actions.items():
                _add_command(below, action, taken)
        else:
            _add_command(commands, name, verb)
    return parser


def _add_command(commands: Any, name: str, taken: type[Any]) -> None:
    told = (taken.__doc__ or "").partition("\n")[0]
    command = commands.add_parser(name, help=told, description=told)
    command.set_defaults(options=taken)
    add_flags(command, taken)


class _TandemHelp(AlignedHelp, argparse.RawDescriptionHelpFormatter):
    """The help of ``tandem`` itself, with its examples line by line."""


class _ShowVersion(argparse.Action):
    """Print the version, which takes an import that no other command is to wait for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"tandem {version('tandem-ml')}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
