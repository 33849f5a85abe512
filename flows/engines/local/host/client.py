"""Client of the step host, the process that starts the steps of a local run.

The host is started early, before anything heavy is imported, and used from asyncio later.
"""

import asyncio
import contextlib
import errno
import itertools
import json
import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from flows.engines.local.host.step_tree import descendants, send
from flows.errors import ServiceError, SettingsError

HOST_SCRIPT = Path(__file__).with_name("step_host.py")
STOP_SECONDS = 6.0
HELPER = "helper"
_log = logging.getLogger(__name__)

# What to do where the system does not start a process, by the number of its error.
_REMEDIES = {
    errno.E2BIG: "Its command or its environment variables are too long: put what is long into a file.",
    errno.EAGAIN: "This user may have no more processes (`ulimit -u`): end some, and start the same command again.",
    errno.ENOMEM: "There is no memory left for it: end other programs, and start the same command again.",
    errno.EMFILE: "Too many files are open: raise `ulimit -n`, and start the same command again.",
    errno.ENFILE: "Too many files are open on this machine: end other programs, and start the same command again.",
    errno.ENOSPC: "Free some space, and start the same command again.",
    errno.EDQUOT: "Free some space, and start the same command again.",
}


@dataclass(frozen=True, slots=True)
class Command:
    """One process to start.

    Attributes:
        text: The command, for a shell; or the words of one.
        folder: Where it works.
        environment: All its variables.
        log: The file that gets what it prints.
        script: The command as a list if it is a plain ``python script.py …``, else None.
        modules: What that script will import.
        imported: The file in which a forked script notes what it has imported itself, as it ends.
    """

    text: str | list[str]
    folder: Path
    environment: Mapping[str, str]
    log: Path
    script: Sequence[str] | None = None
    modules: Sequence[str] = ()
    imported: Path | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended. A negative ``code`` is the number of the signal that ended it."""

    code: int


@dataclass(slots=True)
class Process:
    """A process that was started: ``ended`` resolves when it has ended."""

    identifier: str
    ended: "asyncio.Future[Ended]"
    started: "asyncio.Future[bool]" = field(repr=False)
    pid: int | None = None


class StepHost:
    """A step host process and the steps it runs. Not thread-safe: one event loop uses it, from :meth:`connect` on."""

    def __init__(self, process: "subprocess.Popen[bytes] | _Child", helper: tuple[IO[bytes], IO[bytes]]) -> None:
        self._process = process
        self._helper: tuple[IO[bytes], IO[bytes]] | None = helper
        self._numbers = itertools.count(1)
        self._processes: dict[str, Process] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ending = "has ended"

    @classmethod
    def start(cls, python: Path, environment: Mapping[str, str], preload: Sequence[str], helper: Command) -> "StepHost":
        """Start a host under the interpreter ``python``, its helper, and let it import the ``preload`` modules.

        The helper is the one process that talks with us over its standard input and output.

        Raises:
            SettingsError: The interpreter cannot be started.
        """
        helper_in, to_helper = os.pipe()
        from_helper, helper_out = os.pipe()
        try:
            process = subprocess.Popen(
                [str(python), "-u", str(HOST_SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=dict(environment),
                pass_fds=(helper_in, helper_out),
                start_new_session=True,
            )
        except OSError as error:
            raise SettingsError(f"The interpreter of the steps cannot be started: {python}: {error}.") from error
        finally:
            os.close(helper_in)
            os.close(helper_out)
        host = cls(process, (os.fdopen(from_helper, "rb"), os.fdopen(to_helper, "wb")))
        assert process.stdin is not None
        first = _start_request(HELPER, helper, [helper_in, helper_out])
        process.stdin.write(_line(first) + _line({"preload": list(preload)}))
        process.stdin.flush()
        return host

    def survive_exec(self) -> str:
        """Leave the host to the program that this process becomes (``exec``), and return what :meth:`after_exec` needs.

        Processes that this one starts do not get its pipes, unless they ask for all there are (``close_fds=False``).
        """
        assert self._helper is not None and self._process.stdin is not None and self._process.stdout is not None
        pipes = [pipe.fileno() for pipe in (self._process.stdin, self._process.stdout, *self._helper)]
        for pipe in pipes:
            os.set_inheritable(pipe, True)
        return ":".join(map(str, (self._process.pid, *pipes)))

    @classmethod
    def after_exec(cls, word: str) -> "StepHost | None":
        """Take over the host that this process started before its ``exec``; None if the host has ended."""
        pid, *pipes = map(int, word.split(":"))
        child = _Child(pid)
        if child.has_ended():
            return None
        for pipe in pipes:
            os.set_inheritable(pipe, False)
        to_host, from_host, from_helper, to_helper = pipes
        child.stdin, child.stdout = os.fdopen(to_host, "wb"), os.fdopen(from_host, "rb")
        return cls(child, (os.fdopen(from_helper, "rb"), os.fdopen(to_helper, "wb")))

    async def connect(self) -> None:
        """Attach to the running event loop. Must be called once, before :meth:`run`."""
        if self._writer is not None:
            return
        assert self._process.stdin is not None and self._process.stdout is not None
        reader, self._writer = await open_streams(self._process.stdout, self._process.stdin)
        self._reading = asyncio.create_task(self._read(reader))

    async def run(self, command: Command) -> Process:
        """Start a process and return as soon as it has a process id.

        Raises:
            SettingsError: It cannot be started (its folder or its shell is not there, no more processes, …).
            ServiceError: The host has ended.
        """
        loop = asyncio.get_running_loop()
        process = Process(str(next(self._numbers)), loop.create_future(), loop.create_future())
        self._processes[process.identifier] = process
        self._send(_start_request(process.identifier, command, None))
        await asyncio.shield(process.started)  # a waiter that is canceled must not cancel the future of the answer
        return process

    async def helper_streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """What the helper writes, and what it reads."""
        assert self._helper is not None, "one helper has one other end"
        pipes, self._helper = self._helper, None
        return await open_streams(*pipes)

    def signal(self, process: Process, number: int) -> None:
        """Send a signal to a process and all that it has started."""
        self._send({"signal": process.identifier, "number": number})

    async def stop(self) -> None:
        """End the host, and with it every process that still runs; returns when all are gone."""
        for pipe in self._helper or ():  # nobody has taken them
            pipe.close()
        self._helper = None
        if self._writer is not None:
            self._writer.close()
        elif self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.to_thread(self._process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        if self._reading is not None:
            await self._reading

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._writer is None or self._reading is None or self._reading.done():
            raise self._ended()
        self._writer.write(_line(message))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                try:
                    line = await reader.readline()
                except ValueError as error:  # longer than any answer is
                    _log.warning("The step host said what makes no sense: %s", error)
                    continue
                if not line:
                    break
                self._take(line)
        finally:
            await self._over()

    def _take(self, line: bytes) -> None:
        """Do what an answer says. One that cannot be understood is logged, and the next ones are read all the same."""
        try:
            answer: dict[str, Any] = json.loads(line)
            if HELPER in answer.values():
                return  # whoever talks with the helper sees that its output has ended
            if "started" in answer:
                process = self._processes[answer["started"]]
                process.pid = int(answer["pid"])
                _resolve(process.started, bool(answer["forked"]))
            elif "ended" in answer:
                ended = Ended(int(answer["code"]))
                _resolve(self._processes.pop(answer["ended"]).ended, ended)
            else:
                process = self._processes.pop(answer["refused"])
                _resolve(process.started, _refusal(answer["message"], answer["errno"]))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            said = line[:200].decode(errors="replace")
            _log.warning("The step host said what makes no sense: %r: %s", error, said)

    async def _over(self) -> None:
        """End what the host has left, if it did not end in good order, and raise in whoever waits for a step."""
        _kill(process.pid for process in self._processes.values() if process.pid is not None)
        self._ending = await asyncio.to_thread(self._how_it_ended)
        for process in self._processes.values():
            for future in (process.started, process.ended):
                if not future.done():
                    future.set_exception(self._ended())
                    future.exception()  # a waiter that is itself being stopped need not retrieve it
        self._processes.clear()

    def _how_it_ended(self) -> str:
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        code = self._process.returncode
        if code is None or code == 0:
            return "has ended before its time"
        if code > 0:
            return f"has failed with exit code {code}; what it said of that is above"
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            memory = "; the machine may have run out of memory" if -code == signal.SIGKILL else ""
            return f"was ended by the signal {name}{memory}"
        return f"was ended by the signal {-code}"

    def _ended(self) -> ServiceError:
        return ServiceError(
            f"The process that starts the steps {self._ending}. No step is left running; finished steps are kept. "
            "Start the same command again to go on from there."
        )


class _Child:
    """A child that this process started before an ``exec``: the part of ``Popen`` that a host needs."""

    stdin: IO[bytes] | None = None
    stdout: IO[bytes] | None = None
    returncode: int | None = None

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def has_ended(self) -> bool:
        """Whether it has, or was never a child of this process."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid:
            self.returncode = os.waitstatus_to_exitcode(status)
        return bool(pid)

    def wait(self, timeout: float) -> None:
        """Return when it has ended.

        Raises:
            subprocess.TimeoutExpired: It has not, in so many seconds.
        """
        end = time.monotonic() + timeout
        while not self.has_ended():
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(HOST_SCRIPT), timeout)
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill it."""
        os.kill(self.pid, signal.SIGKILL)


def _kill(steps: Iterable[int]) -> None:
    for step in steps:
        below = descendants(step)  # also what has left the step's process group
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(step, signal.SIGKILL)
        send(signal.SIGKILL, below)


def _resolve(future: "asyncio.Future[Any]", result: Any) -> None:
    """Give a future its result, unless whoever waited has given it up."""
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
        future.exception()  # who has given up waiting need not retrieve it
    else:
        future.set_result(result)


def _refusal(message: str, number: int) -> SettingsError:
    """The error of a step that cannot be started: why, and what to do about it."""
    remedy = _REMEDIES.get(number, "")
    return SettingsError(f"The step cannot be started: {message}.{remedy and ' '}{remedy}")


def _start_request(identifier: str, command: Command, streams: list[int] | None) -> dict[str, Any]:
    return {
        "start": identifier,
        "command": command.text,
        "script": None if command.script is None else list(command.script),
        "modules": list(command.modules),
        "cwd": str(command.folder),
        "env": dict(command.environment),
        "log": str(command.log),
        "imported": None if command.imported is None else str(command.imported),
        "streams": streams,
    }


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


async def open_streams(read: IO[bytes], write: IO[bytes]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Wrap the two ends of pipes in asyncio streams."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 26)
    protocol = asyncio.StreamReaderProtocol(reader)
    await loop.connect_read_pipe(lambda: protocol, read)
    # A protocol that is made for reading, too: of the public ones it alone can say when the pipe is closed.
    transport, writing = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), write
    )
    return reader, asyncio.StreamWriter(transport, writing, None, loop)
