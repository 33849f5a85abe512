"""Execution of a script in a forked process, as ``python script.py`` executes it in a new one.

Imports the standard library only. What the interpreter does before and after a script is done here: ``__main__``,
arguments, search path; then the report of an exception, threads, exit handlers, open files, finalizers, exit code. Two
things are not as in a new process. The stack has frames of this file below those of the script. And the libraries that
were imported before the fork are not torn down in the end: that would copy all of their memory, page by page, which is
more work than most steps do.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib.machinery
import io
import os
import sys
import threading
import traceback
import types
import weakref
from typing import Any, Callable, NoReturn, Sequence  # noqa: UP035 (the steps' interpreter may be an old one)


def run_script(words: Sequence[str], note: Callable[[list[str]], None]) -> NoReturn:
    """Run a script in this process, and end the process with its exit code.

    Args:
        words: The script and its arguments.
        note: Gets the names of the modules that the script has imported, when it has ended.
    """
    before = list(sys.modules.values())  # these are left as they are
    sys.argv = list(words)
    sys.orig_argv = ["python", *words]
    path = os.path.abspath(words[0])
    sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    code = execute(path)
    kept = {id(module) for module in before}
    note([name for name, module in list(sys.modules.items()) if id(module) not in kept])
    end_process(code, before)


def execute(path: str) -> object:
    """Execute a file as ``__main__``, and return its exit code as ``sys.exit`` takes it: a number, a text or None."""
    main = types.ModuleType("__main__")
    loader = importlib.machinery.SourceFileLoader("__main__", path)
    main.__dict__.update(
        __file__=path, __builtins__=__builtins__, __annotations__={}, __cached__=None, __loader__=loader
    )
    sys.modules["__main__"] = main
    if "__mp_main__" in sys.modules:
        sys.modules["__mp_main__"] = main  # multiprocessing keeps what was __main__ when it was imported
    try:
        with open(path, "rb") as source:
            compiled = compile(source.read(), path, "exec", dont_inherit=True)
        exec(compiled, main.__dict__)
    except SystemExit as error:
        return error.code
    except BaseException as error:
        try:
            report(error)
        except SystemExit as asked:
            return asked.code
        if isinstance(error, KeyboardInterrupt):
            sys.excepthook = lambda kind, value, trace: None  # reported above; then it ends by the signal
            raise
        return 1
    return None


def report(error: BaseException) -> None:
    """Report an exception by the script's own excepthook, with the script's part of the traceback.

    Raises:
        SystemExit: By the excepthook.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    error = error.with_traceback(trace)
    try:
        sys.excepthook(type(error), error, trace)
    except SystemExit:
        raise
    except BaseException as another:
        own = None if another.__traceback__ is None else another.__traceback__.tb_next
        print("Error in sys.excepthook:", file=sys.stderr)
        another.__context__ = None
        traceback.print_exception(type(another), another, own)
        print("\nOriginal exception was:", file=sys.stderr)
        traceback.print_exception(type(error), error, trace)


def end_process(code: object, before: Sequence[object]) -> NoReturn:
    """End as the interpreter does after a script, but leave the modules ``before`` as they are."""
    if code is not None and not isinstance(code, int):
        with contextlib.suppress(Exception):  # a text that cannot be written is dropped
            print(code, end="", file=sys.stderr)
        with contextlib.suppress(Exception):
            print(file=sys.stderr)
        code = 1
    for last in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]
        try:
            last()
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
    flush_files()
    threading.excepthook = lambda args: None  # a new process would end daemon threads before they could fail
    let_go(before)
    flush_files()
    os._exit((code or 0) & 0xFF)


class Holder:
    """A marker that is put among the names of a module: while it lives, something still uses these names."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names


def let_go(before: Sequence[object]) -> None:
    """Drop what the script has made and imported, so that finalizers run.

    The modules are dropped first, so that their finalizers find all that they use; then the names of those modules that
    something else still refers to.
    """
    sys.last_type = sys.last_value = sys.last_traceback = None
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    kept = {id(module) for module in before}
    made = [name for name, module in sys.modules.items() if id(module) not in kept]
    holders = [holder_of(sys.modules.pop(name)) for name in made]
    gc.collect()
    for reference in holders:  # a module comes before those that it imports, and may need them
        holder = reference()
        if holder is not None:
            for name in reversed(list(holder.names)):  # what was made late may need what was made early
                holder.names[name] = None


def holder_of(module: Any) -> weakref.ref[Holder]:
    """Put a holder among the names of a module. What libraries put into ``sys.modules`` need not be a module."""
    names: dict[str, Any] = vars(module) if isinstance(module, types.ModuleType) else {}
    names[Holder.__name__] = holder = Holder(names)
    return weakref.ref(holder)


def flush_files() -> None:
    """Write the buffers of open files, also of those in a reference cycle, which the collector may drop unwritten."""
    made_here = [thing for thing in gc.get_objects() if isinstance(thing, (io.TextIOWrapper, io.BufferedWriter))]
    for file in (sys.stdout, sys.stderr, *made_here):
        with contextlib.suppress(Exception):  # closed, or not a stream at all
            file.flush()
