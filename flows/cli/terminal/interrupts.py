"""Ctrl+C handling: at any moment of a command it prints one line and ends with exit code 130.

A command whose log nobody reads any more (``tandem run … 2>&1 | head``) ends in the same way, with exit code 141.

A KeyboardInterrupt in the middle of an import may turn into another error, or into a traceback of a library. So it is
raised only while a command does work that must be stopped properly (:class:`raised`). Before that, Ctrl+C ends the
process at once, and the processes that it has started end when its pipes close. After that, the command writes what it
still has to write, and then ends.
"""

import atexit
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

INTERRUPTED, UNREAD = 130, 141  # 128 and the number of the signal: SIGINT, SIGPIPE
_on_quit: list[Callable[[], object]] = []
_begun = _noted = _unread = False


def handle_interrupts() -> None:
    """Handle Ctrl+C from now on. A command calls this first. A process that ignores Ctrl+C still ignores it."""
    global _begun
    if _begun or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    _begun = True
    atexit.register(_end)  # the first that is registered runs last
    signal.signal(signal.SIGINT, _quit)


def on_quit(callback: Callable[[], object]) -> None:
    """Register a function to call when Ctrl+C ends the process at once. It must be short and must not wait."""
    _on_quit.append(callback)


def discard(descriptor: int) -> None:
    """Discard all that is written to a file from now on, since its reader is gone."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def reader_is_gone(descriptor: int) -> None:
    """End the command as Ctrl+C does, but with exit code 141: whoever read its log is gone. From any thread."""
    global _unread
    discard(descriptor)
    if _begun and not _unread:
        _unread = True
        os.kill(os.getpid(), signal.SIGINT)


def exit_code() -> int:
    """The exit code of a command that was interrupted."""
    return UNREAD if _unread else INTERRUPTED


def command_is_over() -> None:
    """From now on Ctrl+C only sets the exit code to 130 and lets the process finish; a second one ends it at once."""
    if _begun:
        signal.signal(signal.SIGINT, _note)


class raised:  # noqa: N801 (a context manager is written like a function)
    """A block in which Ctrl+C raises KeyboardInterrupt, and cancels the main task of asyncio."""

    def __enter__(self) -> None:
        if _begun:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def __exit__(self, *_: object) -> None:
        if _begun:
            signal.signal(signal.SIGINT, _quit)


def _quit(number: int, frame: FrameType | None) -> None:
    for callback in _on_quit:
        try:  # noqa: SIM105 (this module is to be imported first, and imports next to nothing)
            callback()
        except Exception:  # there is nobody left to tell
            pass
    if not _noted:
        _say("Interrupted. Nothing is left running.")
    os._exit(exit_code())


def _note(number: int, frame: FrameType | None) -> None:
    global _noted
    _noted = True
    _say("Interrupted while the command was ending; what it has done is kept.")
    signal.signal(signal.SIGINT, _quit)


def _end() -> None:
    if _noted:
        for stream in (sys.stdout, sys.stderr):
            try:  # noqa: SIM105
                stream.flush()
            except (OSError, ValueError):
                pass
        os._exit(exit_code())


def _say(text: str) -> None:
    try:  # noqa: SIM105
        os.write(2, f"\n{text}\n".encode())  # not print: it may be what was interrupted
    except OSError:
        pass
