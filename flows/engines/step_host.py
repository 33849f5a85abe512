"""Start steps as processes, fast. Run as a script by the interpreter of the steps; imports the standard library only.

One host serves one run. It reads requests as JSON lines on standard input and answers with JSON lines on standard
output. It starts every step in a process group of its own and, when its standard input closes (its client ended,
however it ended), stops all of them: no step outlives the run that waits for it.

A step whose command is a plain ``python script.py …`` is not started from nothing: libraries that are known to be safe
to import before a fork are imported here once, while the client still does other things, and each step is a fork in
which the script becomes ``__main__``. For the step all is as in a new process: working directory, arguments,
environment, standard streams, module search path, random state, exit code. Everything else is executed in the
ordinary way.

Requests::

    {"preload": ["pandas", "sklearn:linear_model"]}
    {"start": ID, "command": TEXT, "script": [FILE, ARGUMENT…] or null, "modules": […],
     "cwd": PATH, "env": {…}, "log": PATH, "streams": [READ_FD, WRITE_FD] or null}
    {"signal": ID, "number": 15}

Answers::

    {"started": ID, "pid": 123, "forked": true}
    {"ended": ID, "code": 0, "cpu_seconds": 0.4, "peak_kilobytes": 90000}      # code < 0: ended by that signal
    {"refused": ID, "message": TEXT}
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import time
import types
from typing import Any, Dict, Sequence  # noqa: UP035 (the steps' interpreter may be an old one)

# Imported before a fork these start no Python threads and hold no locks or connections; those that start native ones
# (OpenBLAS, Arrow) know how to start anew in the child. A test of this project checks both.
PRELOADABLE = {
    *("alembic", "git", "joblib", "matplotlib", "mlflow", "narwhals", "numpy", "pandas", "pandera", "pyarrow"),
    *("scipy", "skops", "sklearn", "sqlalchemy"),
}
TERMINATION_GRACE_SECONDS = 3.0

Request = Dict[str, Any]  # noqa: UP006


class Host:
    """The processes that are running, and what is still to be imported."""

    def __init__(self) -> None:
        self.answers = os.dup(1)
        os.set_inheritable(self.answers, False)
        os.dup2(2, 1)  # what a library prints while it is imported is not an answer
        gc.disable()  # nothing here is garbage; looking for some takes an eighth of the time of the imports
        self.preload: list[str] = []
        self.running: dict[int, str] = {}  # by process id
        self.children: dict[str, int] = {}
        self.left: set[int] = set()  # process groups of ended steps in which something still ran
        self.buffer = b""
        # A signal that comes between a look for ended steps and the next wait must end that wait.
        self.wakes = os.pipe()
        for end in self.wakes:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self.wakes[1], warn_on_full_buffer=False)
        # Ctrl+C is for the client, which then ends us. Not SIG_IGN, which the steps would inherit.
        signal.signal(signal.SIGINT, lambda number, frame: None)
        signal.signal(signal.SIGCHLD, lambda number, frame: self.reap())
        signal.signal(signal.SIGTERM, lambda number, frame: self.stop_all() or os._exit(143))

    def answer(self, **message: Any) -> None:
        """Write one answer."""
        with contextlib.suppress(BrokenPipeError):  # the client is gone; standard input tells so next
            os.write(self.answers, (json.dumps(message) + "\n").encode())

    def reap(self) -> None:
        """Report every process that has ended. Runs as a signal handler, so also in the middle of a long import."""
        for pid in list(self.running):
            try:
                done, status, usage = os.wait4(pid, os.WNOHANG)
            except ChildProcessError:
                continue
            if done:
                identifier = self.running.pop(pid)
                del self.children[identifier]
                if self.signal_group(pid, signal.SIGTERM):  # as a container ends with its main process
                    self.left.add(pid)
                code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                seconds = round(usage.ru_utime + usage.ru_stime, 3)
                self.answer(ended=identifier, code=code, cpu_seconds=seconds, peak_kilobytes=usage.ru_maxrss)

    def serve(self) -> Request | None:
        """Serve until the client closes; returns early only in a forked step, with what that step is to run."""
        while True:
            readable = select.select([0, self.wakes[0]], [], [], 0 if self.preload else None)[0]
            if self.wakes[0] in readable:
                os.read(self.wakes[0], 1 << 10)  # what it says is done by the handler of the signal
            if 0 not in readable:
                if self.preload:
                    self.load(self.preload.pop(0))
                continue
            chunk = os.read(0, 1 << 20)
            if not chunk:
                self.stop_all()
                return None
            *lines, self.buffer = (self.buffer + chunk).split(b"\n")
            for line in lines:
                request = json.loads(line)
                if "preload" in request:
                    self.preload += request["preload"]
                elif "signal" in request:
                    self.send_signal(request["signal"], request["number"])
                else:
                    step = self.start(request)
                    if step is not None:
                        return step

    def load(self, module: str) -> None:
        """Import ``package.module``, or for ``module:name`` also the submodule of that name if there is one."""
        parent, _, name = module.partition(":")
        if parent.partition(".")[0] not in PRELOADABLE:
            return
        try:
            imported = importlib.import_module(parent)
            # An attribute that is no module is what was meant; a lazy module is not loaded by being there.
            is_value = name in vars(imported) and not isinstance(vars(imported)[name], types.ModuleType)
            if name and not is_value and hasattr(imported, "__path__") and importlib.util.find_spec(f"{parent}.{name}"):
                importlib.import_module(f"{parent}.{name}")
        except ModuleNotFoundError:
            pass  # of another version, or not installed for this interpreter; a step that needs it will say so
        except Exception as error:  # the step will meet the same error, with its own traceback
            print(f"step host: not preloaded: {module}: {error!r}", file=sys.stderr)

    def start(self, request: Request) -> Request | None:
        """Start one step. In the forked child returns the request, else None."""
        identifier, script = request["start"], request["script"]
        forked = bool(script) and sys.platform == "linux" and not self.shadowed(request["cwd"], script[0])
        streams = request.get("streams") or []
        try:
            log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            if forked:
                for module in request["modules"]:
                    self.load(module)
                forked = not self.shadowed(request["cwd"], script[0])  # by what these have loaded in turn
            if forked:
                gc.freeze()  # what is loaded here is not looked at again by a step's garbage collector
                pid = self.fork()
                if pid == 0:
                    self.become_child(request, log, streams)
                    return request
            else:
                pid = self.execute(request, log, streams)
        except OSError as error:
            self.answer(refused=identifier, message=str(error))
            return None
        finally:
            for descriptor in streams:
                os.close(descriptor)
        os.close(log)
        self.children[identifier] = pid
        self.answer(started=identifier, pid=pid, forked=forked)
        self.running[pid] = identifier  # from here on its end is reported: after its start
        self.reap()  # it may have ended before it was in the table
        return None

    def fork(self) -> int:
        """Fork, with the signals of a new process in the child."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        return pid

    def become_child(self, request: Request, log: int, streams: Sequence[int]) -> None:
        """Make this forked process look like a new one: streams, session, folder, environment, random state."""
        gc.enable()
        os.setsid()
        for descriptor in (self.answers, *self.wakes):
            os.close(descriptor)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(streams[0] if streams else null, 0)
        os.dup2(streams[1] if streams else log, 1)
        os.dup2(log, 2)
        os.close(log)
        os.close(null)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        if "numpy.random" in sys.modules:
            sys.modules["numpy.random"].seed()

    def execute(self, request: Request, log: int, streams: Sequence[int]) -> int:
        """Start a process in the ordinary way, and return its id."""
        environment = request["env"]
        command = request["command"]
        argv = command if isinstance(command, list) else ["/bin/bash", "-c", command]
        process = subprocess.Popen(
            argv,
            cwd=request["cwd"],
            env=environment,
            stdin=streams[0] if streams else subprocess.DEVNULL,
            stdout=streams[1] if streams else log,
            stderr=log,
            start_new_session=True,
        )
        process.returncode = 0  # reap() waits for it; `subprocess` shall not, and lose its exit code to us
        return process.pid

    @staticmethod
    def shadowed(folder: str, script: str) -> bool:
        """Whether a module of the script's folder has the name of one that is loaded here: it would not be found.

        Also if the script is not there: Python says it best.
        """
        path = os.path.join(folder, script)
        if not os.path.isfile(path):
            return True
        folder = os.path.dirname(path)
        try:
            with os.scandir(folder) as entries:
                found = {e.name.partition(".")[0] for e in entries if e.is_dir() or e.name.endswith((".py", ".so"))}
        except OSError:
            return True
        return bool(found & {name.partition(".")[0] for name in sys.modules} - {"__main__"})

    def send_signal(self, identifier: str, number: int) -> None:
        """Signal a step and all that it has started."""
        pid = self.children.get(identifier)
        if pid:
            self.signal_group(pid, number)

    @staticmethod
    def signal_group(group: int, number: int) -> bool:
        """Signal a process group; whether there was any process in it."""
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def stop_all(self) -> None:
        """End every step that still runs, and what ended ones left behind: first politely, then for good."""
        groups = set(self.children.values())
        for number, seconds in ((signal.SIGTERM, TERMINATION_GRACE_SECONDS), (signal.SIGKILL, 1.0)):
            for group in groups:
                self.signal_group(group, number)
            end = time.monotonic() + seconds
            while self.running and time.monotonic() < end:
                time.sleep(0.02)
                self.reap()
            groups |= self.left


if __name__ == "__main__":
    from step_script import run_script

    del sys.modules["step_script"]  # neither this name
    sys.path.pop(0)  # nor the folder of this file is the steps' business
    to_run = Host().serve()
    if to_run is None:
        os._exit(0)
    run_script(to_run["script"])
