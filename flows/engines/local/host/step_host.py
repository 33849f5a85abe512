"""Step host: starts steps as processes, by a fork where a step cannot tell the difference.

Run as a script by the interpreter of the steps; imports the standard library only. One host serves one run. It reads
requests as JSON lines on standard input and answers with JSON lines on standard output. When its standard input closes
(its client ended, however it ended), it stops all steps: no step outlives the run that waits for it.

What a step starts ends with it, as in a container. Every step is a process group and a child subreaper
(:mod:`step_tree`): a process whose parent has ended gets the step as its parent, whatever session it has made for
itself, and when the step has ended, this host. It then has :data:`LEFT_SECONDS` to end by itself, is asked to end
(SIGTERM), and is killed. Only when nothing is left is the end of the step answered, so its log is whole by then. Where
the system has no subreapers, this holds for the process group alone.

A step whose command is a plain ``python script.py …`` starts faster: libraries that are known to be safe to import
before a fork are imported here once, while the client still does other things, and each step is a fork in which the
script becomes ``__main__``. For the step everything is as in a new process: working directory, arguments,
environment, standard streams, module search path, random state, exit code. Everything else is executed in the
ordinary way.

A fault of one step or of one request is answered for that step, and the others go on. The host ends when its client
does; a signal that a step sends to its parent does not end it, unless it is one that cannot be caught.

Requests::

    {"preload": ["pandas", "sklearn:linear_model"]}
    {"start": ID, "command": TEXT, "script": [FILE, ARGUMENT…] or null, "modules": […],
     "imported": PATH or null, "cwd": PATH, "env": {…}, "log": PATH, "streams": [READ_FD, WRITE_FD] or null}
    {"signal": ID, "number": 15}

Answers::

    {"started": ID, "pid": 123, "forked": true}
    {"ended": ID, "code": 0}
    {"refused": ID, "message": TEXT, "errno": 12}

A ``code`` below 0 is the number of the signal that ended the step; ``errno`` is 0 where no system call failed.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import warnings
from typing import Any, Dict, NoReturn, Sequence  # noqa: UP035 (the steps' interpreter may be an old one)

from step_imports import Imports, note_imports, say, shadowed
from step_script import run_script
from step_stack import with_room_to_call
from step_tree import become_subreaper, children, descendants, prctl, send

TERMINATION_GRACE_SECONDS = 3.0
LEFT_SECONDS = 2.0  # for what a step has started and not waited for, to end by itself once the step has ended
LOOK_SECONDS = 0.05
LONGEST_MESSAGE = 2000  # characters; an answer is written in one piece if it is shorter than a page of memory
NOT_STARTED = 126  # the exit code of a forked process that could not begin its step
# Signals that report a fault of the process itself, that end nothing, or that cannot be caught.
NOT_CAUGHT = {"SIGABRT", "SIGBUS", "SIGCONT", "SIGFPE", "SIGILL", "SIGKILL", "SIGSEGV", "SIGSTOP", "SIGSYS", "SIGTRAP"}

Request = Dict[str, Any]  # noqa: UP006


class Ending:
    """A step that has ended while something that it has started may still run, and what that is sent next, and when."""

    def __init__(self, identifier: str, code: int, is_stopped: bool) -> None:
        self.identifier = identifier
        self.code = code
        self.signal, self.at = signal.SIGTERM, time.monotonic() + LEFT_SECONDS
        if is_stopped:  # then all of it was asked to end together with the step
            self.wait_before_killing()

    def wait_before_killing(self) -> None:
        """From now on, what is left has a while to end before it is killed."""
        self.signal, self.at = signal.SIGKILL, time.monotonic() + TERMINATION_GRACE_SECONDS


class Host:
    """The processes that are running, and what is still to be imported."""

    def __init__(self) -> None:
        while (spare := os.open(os.devnull, os.O_RDWR)) < 3:
            pass  # a standard stream that was closed would be the next file that is opened
        os.close(spare)
        self.answers = os.dup(1)
        os.set_inheritable(self.answers, False)
        os.dup2(2, 1)  # what a library prints while it is imported is not an answer
        gc.disable()  # nothing here is garbage; looking for some takes an eighth of the time of the imports
        self.imports = Imports()
        self.running: dict[int, str] = {}  # by process id
        self.ending: dict[int, Ending] = {}
        self.children: dict[str, int] = {}  # of both
        self.stopped: set[int] = set()  # running steps that were sent a signal
        self.left: dict[int, int] = {}  # processes of ended steps, each with its step
        self.prctl = prctl()
        if not become_subreaper(self.prctl):
            self.prctl = None
        self.busy = self.changed = False
        self.buffer = b""
        # A signal that comes between a look for ended steps and the next wait must end that wait.
        self.wakes = os.pipe()
        for end in self.wakes:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self.wakes[1], warn_on_full_buffer=False)
        # Ctrl+C is for the client, which then ends us. Not SIG_IGN, which the steps would inherit.
        self.caught = [
            number
            for number in signal.valid_signals()
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
            and getattr(number, "name", "") not in NOT_CAUGHT
        ]
        for number in self.caught:
            signal.signal(number, lambda number, frame: None)
        signal.signal(signal.SIGALRM, lambda number, frame: self.imports.end_overdue())
        signal.signal(signal.SIGCHLD, lambda number, frame: self.reap())

    def answer(self, **message: Any) -> None:
        """Write one answer."""
        with contextlib.suppress(BrokenPipeError):  # the client is gone; the next read of standard input shows it
            os.write(self.answers, (json.dumps(message) + "\n").encode())

    def reap(self) -> None:
        """Report every step that has ended. Runs as a signal handler, so also in the middle of a long import."""
        self.changed = True
        while self.changed and not self.busy:
            self.busy, self.changed = True, False
            interrupted, self.imports.running = self.imports.running, False  # what is done here is not given up
            self.look()
            self.imports.running = interrupted
            self.busy = False

    def look(self) -> None:
        """Look once for what has ended."""
        for pid in list(self.running):
            try:
                done, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue
            if done:
                code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                self.ending[pid] = Ending(self.running.pop(pid), code, pid in self.stopped)
                self.stopped.discard(pid)
                self.take_over(pid)
        for pid, step in list(self.left.items()):
            try:
                done = os.waitpid(pid, os.WNOHANG)[0]
            except ChildProcessError:
                done = pid
            if done:
                del self.left[pid]
                self.take_over(step)
        for pid, ending in list(self.ending.items()):
            if not (pid in self.left.values() if self.prctl else self.signal_group(pid, 0)):
                del self.ending[pid], self.children[ending.identifier]
                self.answer(ended=ending.identifier, code=ending.code)

    def take_over(self, step: int) -> None:
        """Note the processes that have become children of this one since a step, or what that has left, has ended."""
        for pid in children(os.getpid()) if self.prctl else ():
            with contextlib.suppress(ProcessLookupError):
                session = os.getsid(pid)
                # What a library has started here while it was imported is in our own session.
                if pid not in self.running and pid not in self.left and session != os.getsid(0):
                    self.left[pid] = session if session in self.running or session in self.ending else step

    def end_left(self) -> None:
        """Ask what steps have left to end, or kill it, where it is time for that."""
        for pid, ending in list(self.ending.items()):
            if ending.at <= time.monotonic():
                self.signal_step(pid, ending.signal)
        self.reap()

    def serve(self) -> Request | None:
        """Serve until the client closes; returns early only in a forked step, with what that step is to run."""
        while True:
            if self.ending:
                self.end_left()
            seconds = 0 if self.imports.waiting else LOOK_SECONDS if self.ending else None
            readable = select.select([0, self.wakes[0]], [], [], seconds)[0]
            if self.wakes[0] in readable:
                os.read(self.wakes[0], 1 << 10)  # only a wake-up: the handler of the signal does the work
            if 0 not in readable:
                if self.imports.waiting:
                    self.imports.load(self.imports.waiting.pop(0))
                continue
            chunk = os.read(0, 1 << 20)
            if not chunk:
                self.stop_all()
                return None
            *lines, self.buffer = (self.buffer + chunk).split(b"\n")
            for line in lines:
                step = self.take(line)
                if step is not None:
                    return step

    def take(self, line: bytes) -> Request | None:
        """Do what one request asks for. One that cannot be understood is logged and skipped."""
        try:
            request = json.loads(line)
            if "preload" in request:
                self.imports.waiting += [str(module) for module in request["preload"]]
            elif "signal" in request:
                self.send_signal(request["signal"], request["number"])
            else:
                return self.start(request)
        except Exception as error:
            say(f"not understood: {error!r} in {line[:200]!r}")
        return None

    def start(self, request: Request) -> Request | None:
        """Start one step. In the forked child returns the request, else None."""
        identifier, streams = request["start"], request.get("streams") or []
        try:
            check_environment(request["env"])
            log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                forked = self.can_fork(request)
                self.busy = True  # until the new child is in the table of those that are not left by another
                if forked:
                    gc.freeze()  # what is loaded here is not looked at again by a step's garbage collector
                    pid = self.fork()
                    if pid == 0:
                        self.become_child(request, log, streams)
                        return request
                else:
                    pid = self.execute(request, log, streams)
            finally:
                os.close(log)
        except Exception as error:
            self.busy = False
            self.reap()
            message = str(error) if isinstance(error, (OSError, UnusableVariable)) else f"its request: {error!r}"
            self.answer(refused=identifier, message=message[:LONGEST_MESSAGE], errno=getattr(error, "errno", None) or 0)
            return None
        finally:
            for descriptor in streams:
                os.close(descriptor)
        self.children[identifier] = pid
        self.answer(started=identifier, pid=pid, forked=forked)
        self.running[pid] = identifier  # from here on its end is reported: after its start
        self.busy = False
        self.reap()  # it may have ended before it was in the table
        return None

    def can_fork(self, request: Request) -> bool:
        """Whether a fork is the same for the step as a new process; imports what it asks for, if so."""
        folder, script, modules = request["cwd"], request["script"], request["modules"]
        if not script or sys.platform != "linux" or shadowed(folder, script[0]):
            return False
        whole = all(self.imports.load(module) for module in modules)
        alone = threading.active_count() == 1  # a fork would not have the threads that a library has started
        return whole and alone and not shadowed(folder, script[0])  # by what these have loaded in turn

    def fork(self) -> int:
        """Fork, with the signals of a new process in the child."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            with warnings.catch_warnings():
                # From 3.12 on Python warns of any thread. There are native ones only, which put themselves right.
                warnings.filterwarnings("ignore", category=DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                for number in (*self.caught, signal.SIGCHLD):
                    signal.signal(number, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def become_child(self, request: Request, log: int, streams: Sequence[int]) -> None:
        """Make this forked process look like a new one: streams, session, folder, environment, random state.

        If that fails, the process ends here, since the code that follows is the host's.
        """
        try:
            os.dup2(log, 2)
            gc.enable()
            os.setsid()
            become_subreaper(self.prctl)
            for descriptor in (self.answers, *self.wakes):
                os.close(descriptor)
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(streams[0] if streams else null, 0)
            os.dup2(streams[1] if streams else log, 1)
            os.close(null)
            os.chdir(request["cwd"])
            os.environ.clear()
            os.environ.update(request["env"])
            if "numpy.random" in sys.modules:
                sys.modules["numpy.random"].seed()
        except BaseException as error:
            try:
                os.write(log, f"The step cannot be started: {error}.\n".encode(errors="backslashreplace"))
            finally:
                os._exit(NOT_STARTED)

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
            preexec_fn=(lambda: become_subreaper(self.prctl)) if self.prctl else None,
        )
        process.returncode = 0  # so that `subprocess` never waits for it: reap() does, and takes the exit code
        return process.pid

    def send_signal(self, identifier: str, number: int) -> None:
        """Signal a step and all that it has started."""
        pid = self.children.get(identifier)
        if pid:
            self.signal_step(pid, number)

    def signal_step(self, pid: int, number: int) -> None:
        """Signal a step and all that it has started, or what of that is left."""
        self.busy = True
        if pid in self.running:
            self.stopped.add(pid)
            below = {pid, *descendants(pid)} if self.prctl else {pid}
        else:
            below = {each for child, step in self.left.items() if step == pid for each in (child, *descendants(child))}
            if pid in self.ending:
                self.ending[pid].wait_before_killing()
        # A step that has just been forked has no group yet; when it has ended, its number may be another's.
        has_group = (pid in self.running or not self.prctl) and self.signal_group(pid, number)
        send(number, below, except_group=pid if has_group else 0)
        self.busy = False
        self.reap()  # what has ended meanwhile

    @staticmethod
    def signal_group(group: int, number: int) -> bool:
        """Signal a process group. Returns whether it had any process."""
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def stop_all(self) -> None:
        """End every step that still runs, and what ended ones left behind: first politely, then for good."""
        for number, seconds in ((signal.SIGTERM, TERMINATION_GRACE_SECONDS), (signal.SIGKILL, 1.0)):
            for pid in (*self.running, *self.ending):
                self.signal_step(pid, number)
            end = time.monotonic() + seconds
            while (self.running or self.ending) and time.monotonic() < end:
                time.sleep(0.02)
                if number == signal.SIGKILL:
                    for pid in tuple(self.ending):
                        self.signal_step(pid, number)  # also what has appeared meanwhile
                self.reap()


class UnusableVariable(ValueError):
    """An environment variable that no process can have."""


def check_environment(environment: Dict[str, str]) -> None:  # noqa: UP006
    """Refuse a variable that the system would refuse.

    Raises:
        UnusableVariable: A name or a value is one that no environment can hold.
    """
    for name, value in environment.items():
        if not name or "=" in name or "\0" in name:
            raise UnusableVariable(f"no system takes {name!r} as the name of an environment variable: rename it")
        if "\0" in value:
            raise UnusableVariable(f"the environment variable {name} has a NUL character in its value: take it out")
        try:
            os.fsencode(name + value)
        except UnicodeEncodeError as error:
            said = f"the environment variable {name!a} cannot be written in {error.encoding}: write it in plain letters"
            raise UnusableVariable(said) from error


@with_room_to_call
def main() -> NoReturn:
    """Serve the client; in a forked step, run the step's script."""
    for name in ("step_imports", "step_script", "step_stack", "step_tree"):
        del sys.modules[name]  # a step may have modules of these names
    sys.path.pop(0)  # and must not import from the folder of this file
    to_run = Host().serve()
    if to_run is None:
        os._exit(0)
    place, code = to_run["imported"], to_run["cwd"]
    run_script(to_run["script"], lambda names: note_imports(place, code, names) if place else None)


if __name__ == "__main__":
    main()
