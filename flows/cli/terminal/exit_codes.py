"""Exit codes: a command ends with its result, or with one message on standard error and an exit code."""

import select
import sqlite3
import sys
from collections.abc import Callable

from flows.cli.terminal import interrupts
from flows.errors import TandemError
from flows.machine.faults import cause_of, state_error
from flows.plain_text.visible import visible
from flows.settings import Settings


def exit_code_of(command: Callable[[], int]) -> int:
    """Run a command and return its exit code; a :class:`TandemError` becomes one message, without a traceback."""
    try:
        return _exit_code_of(command)
    finally:
        interrupts.command_is_over()


def _exit_code_of(command: Callable[[], int]) -> int:
    try:
        code = command()
        sys.stdout.flush()
        return code
    except TandemError as error:
        print(f"Error: {visible(str(error), sys.stderr.encoding)}", file=sys.stderr)
        return error.exit_code
    except ImportError as error:
        from flows.cli.terminal.broken_imports import import_fault

        fault = import_fault(error)
        if fault is None:
            raise
        print(f"Error: {visible(str(fault), sys.stderr.encoding)}", file=sys.stderr)
        return fault.exit_code
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        return interrupts.UNREAD
    except (OSError, sqlite3.Error) as error:
        if cause_of(error) is None:
            raise
        told = state_error(error, Settings.from_environment().home)
        print(f"Error: {told}", file=sys.stderr)
        return told.exit_code
    except KeyboardInterrupt:
        print(
            "\nInterrupted. What was finished is kept; start the same command again to go on from there.",
            file=sys.stderr,
        )
        return interrupts.exit_code()
    except BaseException as error:
        if type(error).__name__ != "TerminationSignal":  # Prefect's for SIGTERM; naming its class would import Prefect
            raise
        print(
            "\nTerminated. What was finished is kept; start the same command again to go on from there.",
            file=sys.stderr,
        )
        return 143


def _nobody_reads() -> bool:
    """Whether the reader of our standard output is gone (``tandem plan … | head``); if so, the rest is discarded."""
    output = sys.stdout.fileno()
    poll = select.poll()
    poll.register(output)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    interrupts.discard(output)
    return True
