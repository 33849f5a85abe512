"""Run a flow from the command line: flags from the parameters' model, one message at the end.

The order matters for speed: first the input is checked; then the processes are started that take longest; Prefect is
imported while they start.
"""

import argparse
import asyncio
import atexit
import gc
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

from pydantic import BaseModel

from flows.cli.flags import FlagParser, no_such_flag
from flows.cli.state.closing import Closing
from flows.cli.state.usable import check_usable, explained
from flows.cli.terminal import interrupts
from flows.cli.terminal.exit_codes import exit_code_of
from flows.engines.local.host.step_stack import with_room_to_call
from flows.engines.open_engine import chosen_engine
from flows.engines.runs import PipelineRequest
from flows.errors import (
    CannotRunHere,
    DataAssetError,
    ParameterError,
    RunCanceled,
    RunError,
    ServiceError,
    SettingsError,
    StateError,
    StepFailed,
    TandemError,
)
from flows.machine.living import Living, as_typed, record_process
from flows.machine.private import keep_private, make_folder
from flows.mlflow_store.access import check_mlflow_servers
from flows.orchestration.journal import forget_when_told
from flows.prefect_api.server import elsewhere, use_prefect_api
from flows.settings import Settings, make_command
from flows.training.parameters import JobParameters, PipelineParameters, group_of, shown_fields, validated
from flows.training.request import require_project

# The terminal shows short lines; flows/cli/terminal/console.py has the handler. What a person has set stays.
CONSOLE_SETTINGS = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS": "flows.cli.terminal.console.ConsoleHandler",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s  %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s  %(message)s",
}

# A fault that shows in the flow only: the same exit code as one that shows before.
_USER_ERRORS = (ParameterError, DataAssetError, SettingsError, CannotRunHere)

_OUTPUT = "evaluation_output"

P = TypeVar("P", bound=BaseModel)
T = TypeVar("T", PipelineParameters, JobParameters)


@dataclass(frozen=True, slots=True)
class Run(Generic[P]):
    """One run of a flow: its parameters, what it will ask its engine for, and what imports the flow.

    ``request`` is what is known of the job before anything runs, None for a flow that runs none; the flow is imported
    late, since it brings Prefect.
    """

    parameters: P
    request: Callable[[P, Settings], PipelineRequest] | None
    flow: Callable[[], Any]


def run_command(
    model: type[T],
    description: str,
    request: Callable[[T, Settings], PipelineRequest],
    flow: Callable[[], Any],
    arguments: Sequence[str] | None = None,
) -> int:
    """Parse the flags (one for every field of ``model``), run the flow, print its summary, return the exit code."""

    def command() -> int:
        keep_private()
        known, unknown = _parser(model, description).parse_known_args(arguments)
        if unknown:
            flags = [f"--{name}" for name in (*model.model_fields, "json", "markdown")]
            raise ParameterError(no_such_flag(unknown[0], flags))
        flags = vars(known)
        as_json, as_markdown = flags.pop("json"), flags.pop("markdown")
        settings = Settings.from_environment()
        require_project(settings)
        default = in_project(model.model_fields[_OUTPUT].default, settings.project)
        given = {name: value for name, value in flags.items() if value is not None}
        parameters = validated(model, {_OUTPUT: default, **given})
        check_writable(f"--{_OUTPUT}", Path(parameters.evaluation_output))
        summary = run_flow(Run(parameters, request, flow), quiet=as_json or as_markdown)
        from flows.training.summary import summary_as_json, summary_as_markdown, summary_as_text

        if as_json:
            print(json.dumps(summary_as_json(summary), indent=2))
        elif as_markdown:
            print(summary_as_markdown(summary))
        else:
            where = summary.page or f"{make_command('ui', 'tandem ui')}  (Prefect and MLflow)"
            print(f"{summary_as_text(summary)}\n  Look at it:  {where}\n")
        return 0

    return exit_code_of(command)


def in_project(folder: str, project: Path) -> str:
    """A folder of outputs that nobody has named: from wherever in the project, it is the same one at its top."""
    here = Path.cwd()
    return str(project / folder) if project in here.parents else folder


@with_room_to_call
def run_flow(run: Run[Any], quiet: bool = False) -> Any:
    """Run a flow in this process and return what it returns.

    Raises:
        TandemError: It did not complete; the message is that of its final state, or what is wrong with the local state.
    """
    settings = Settings.from_environment()
    logging.raiseExceptions = False  # else a log that a broken server does not take prints a traceback each time
    try:
        return _run_flow(run, settings, quiet)
    except Exception as error:
        told = explained(error, settings)
        raise told from None if told is not error else error.__cause__


def _run_flow(run: Run[Any], settings: Settings, quiet: bool) -> Any:
    choice = chosen_engine(run.parameters.engine, settings, run.parameters.tracking)
    print(f"Engine: {choice.kind.name} ({choice.reason})", file=sys.stderr if quiet else sys.stdout, flush=True)
    start = None
    if run.request is not None:  # wrong input is found here
        start = choice.kind.prepare(partial(run.request, run.parameters, settings), settings, choice.tracking)
    check_usable(settings)
    if choice.mlflow is not None:
        check_mlflow_servers(choice.mlflow)
    entry = record_process(settings.home, as_typed())
    interrupts.on_quit(entry.end_if_settled)
    atexit.register(entry.end_if_settled)  # before what ends the temporary server, so it runs after that
    closing = Closing.begin(settings)
    api = use_prefect_api(settings)
    if api.origin == "configured":
        entry.tell(api=elsewhere(api.url, settings.prefect_home))
    for variable, value in CONSOLE_SETTINGS.items():
        os.environ.setdefault(variable, value)
    with api.said_if_slow(lambda line: print(line, file=sys.stderr, flush=True)):
        if start is not None:
            start()
        gc.disable()  # nothing is garbage while importing; looking for it takes a tenth of the time
        flow_function = run.flow()
        from flows.cli.terminal.console import end_table, steps_shown

        gc.freeze()
        gc.enable()
        api.wait_until_ready()
    with api.end_with_server(end_table):
        if closing is not None:
            closing.finish(api, lambda line: print(line, file=sys.stderr))
        entry.unsettled = True
        with steps_shown(), interrupts.raised(), forget_when_told():
            return asyncio.run(_result(flow_function, run.parameters.model_dump(), entry))


async def _result(flow_function: Any, parameters: dict[str, Any], entry: Living) -> Any:
    from prefect import tags

    with tags(entry.life.flow_run_tag):
        state = await flow_function(**parameters, return_state=True)
    entry.unsettled = False
    if state.is_cancelled():
        raise RunCanceled(state.message or "The run was canceled.")
    if not state.is_completed():
        raise await _failure(state)
    return await state.aresult()


async def _failure(state: Any) -> TandemError:
    """The error that ended a flow run, as which its state is named, with the outcome of the job if there is one."""
    message, kinds = state.message or "The run failed.", (ServiceError, StateError, *_USER_ERRORS)
    if state.name == StepFailed.__name__:
        return StepFailed(message, None if state.data is None else await state.aresult(raise_on_failure=False))
    return next((kind(message) for kind in kinds if state.name == kind.__name__), RunError(message))


def _parser(model: type[BaseModel], description: str) -> argparse.ArgumentParser:
    parser = FlagParser(description=description, allow_abbrev=False)
    groups: dict[str, Any] = {}
    for name, field in shown_fields(model).items():
        title = group_of(field)
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        choices = [str(choice) for choice in get_args(field.annotation)]
        allowed = f" One of: {', '.join(choices)}." if choices and type(None) not in get_args(field.annotation) else ""
        default = "" if field.default is None else f" Default: {field.default}."
        groups[title].add_argument(
            f"--{name}",
            metavar="VALUE",
            nargs="?" if field.annotation is bool else None,
            const="true" if field.annotation is bool else None,
            help=f"{field.description}{allowed}{default}".replace("%", "%%"),
        )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="Print the summary as JSON on standard output.")
    form.add_argument(
        "--markdown", action="store_true", help="Print it as Markdown, such as the summary of a workflow."
    )
    return parser


def check_writable(flag: str, folder: Path) -> None:
    """See before anything is run that the results can be put where the person wants them."""
    try:
        make_folder(folder)
    except OSError as error:
        raise SettingsError(
            f"{flag}: the folder {folder} cannot be made: {error.strerror}. Choose another one."
        ) from error
    if not os.access(folder, os.W_OK):
        raise SettingsError(f"{flag}: the folder {folder} cannot be written. Choose another one.")
