"""Signals of steps, and their ends: no step outlives its run, and each end is reported."""

import asyncio
import contextlib
import itertools
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from flows.engines.local.host.client import Ended, Process
from flows.errors import ServiceError
from tests.conftest import Write
from tests.engines.conftest import Await
from tests.engines.local.host.hosts import DEADLINE_SECONDS, Host, Ran, opened, opened_for_writing, soon
from tests.terminal import PROJECT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks steps")


def test_signals_that_a_step_sends_to_its_parent_end_nothing(host: Host, write: Write, run: Await) -> None:
    write(
        {
            "code/main.py": """
                import os, signal
                deadly = {signal.SIGKILL, signal.SIGSTOP, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
                for number in signal.valid_signals() - deadly - {signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP}:
                    os.kill(os.getppid(), number)
                os.killpg(0, signal.SIGUSR1)
            """
        }
    )

    async def sent() -> tuple[Ran, Ran]:
        other = await host.host.run(host.command("sleep 100"))
        ran, _ = await host.run("main.py")
        assert not other.ended.done()
        host.host.signal(other, signal.SIGTERM)
        await soon(other.ended)
        return ran, await host.shell("echo ran")

    assert run(sent()) == (Ran(-signal.SIGUSR1, ""), Ran(0, "ran\n"))


def test_a_signal_reaches_a_step_that_has_just_been_forked(host: Host, write: Write, run: Await) -> None:
    write({"code/main.py": "import signal; signal.pause()"})

    async def signalled() -> list[int]:
        codes: list[int] = []
        for _ in range(30):
            step = await host.start("main.py")
            host.host.signal(step, signal.SIGTERM)
            codes.append((await soon(step.ended)).code)
        return codes

    assert run(signalled()) == [-signal.SIGTERM] * 30


def test_steps_that_end_at_once_are_all_reported(host: Host, write: Write, run: Await) -> None:
    write({"code/main.py": "import os; os._exit(0)"})

    async def many() -> list[int]:
        processes = [await host.start("main.py") for _ in range(50)]
        return [(await soon(process.ended)).code for process in processes]

    assert run(many()) == [0] * 50


LONG_STEPS = {
    "plain": "tell(os.getpid())",
    "deaf": "signal.signal(signal.SIGTERM, signal.SIG_IGN); tell(os.getpid())",
    "parent": "tell(os.getpid(), subprocess.Popen(['sleep', '1000']).pid)",
    "parent_of_a_deaf_child": """
        child = subprocess.Popen(['bash', '-c', 'trap "" TERM; echo; while :; do sleep 1000; done'], stdout=-1)
        child.stdout.readline()
        tell(os.getpid(), child.pid)
    """,
    "parent_of_a_session": """
        child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        tell(os.getpid(), child.pid)
    """,
    "parent_of_a_deaf_daemon": """
        told, tells = os.pipe()
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.fork() == 0:
                os.setsid()
                os.write(tells, f"{os.getppid()} {os.getpid()}".encode())
            while True:
                signal.pause()
        tell(os.read(told, 100).decode())
    """,
}
# Writes to a named pipe, so that whoever reads there knows that the step has come so far.
LONG_STEP = """
import os, signal, subprocess, sys
def tell(*pids):
    with open(sys.argv[1], "w") as pipe:
        print(*pids, file=pipe)
"""
TELL_HOST = "import os, sys; open(sys.argv[1], 'w').write(str(os.getppid()))"
CLIENT = """
import asyncio, sys
from pathlib import Path
from flows.engines.local.host.client import Command, StepHost

async def main():
    folder, python, environment = Path.cwd(), Path(sys.executable), {"PATH": "/usr/bin:/bin"}
    host = StepHost.start(python, environment, (), Command(["cat"], folder, environment, folder / "log.txt"))
    await host.connect()
    for script, *rest in [it.split() for it in sys.argv[1:]]:
        await host.run(Command("", folder, environment, folder / "log.txt", [script, *rest]))
    await asyncio.Event().wait()

asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """Processes that are not our children, each with the descriptor that tells of its end."""

    pids: dict[str, list[int]]
    ends: dict[int, int]

    def survivors(self) -> list[str]:
        """Wait for all to end, and return the names of the steps of which something did not."""
        return [name for name, pids in self.pids.items() if not all(self._has_ended(pid) for pid in pids)]

    def _has_ended(self, pid: int) -> bool:
        return pid not in self.ends or bool(select.select([self.ends[pid]], [], [], DEADLINE_SECONDS)[0])


Watch = Callable[[Sequence[str]], Watched]


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    """Watch the processes of steps, which name them in the pipes that are made here; in the end none is left."""
    ends: dict[int, int] = {}

    def _watch(names: Sequence[str]) -> Watched:
        pids = {name: [int(pid) for pid in (tmp_path / f"{name}.pipe").read_text().split()] for name in names}
        for pid in itertools.chain.from_iterable(pids.values()):
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                ends[pid] = os.pidfd_open(pid)
        return Watched(pids, ends)

    for name in LONG_STEPS:
        os.mkfifo(tmp_path / f"{name}.pipe")
    yield _watch
    for end in ends.values():
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(end, signal.SIGKILL)
        os.close(end)


@pytest.fixture
def long_steps(write: Write) -> list[str]:
    """The command lines of the steps that never end by themselves."""
    write(
        {
            f"code/{name}.py": LONG_STEP + dedent(text) + "\nwhile True: signal.pause()"
            for name, text in LONG_STEPS.items()
        }
    )
    return [f"{name}.py ../{name}.pipe" for name in LONG_STEPS]


def test_no_step_outlives_its_client(long_steps: list[str], tmp_path: Path, watch: Watch) -> None:
    command = [sys.executable, "-c", CLIENT, *long_steps]
    with subprocess.Popen(command, cwd=tmp_path / "code", env={**os.environ, "PYTHONPATH": str(PROJECT)}) as client:
        watched = watch(list(LONG_STEPS))
        client.kill()

    assert watched.survivors() == []


def test_no_step_outlives_its_host_when_that_is_stopped(
    long_steps: list[str], tmp_path: Path, watch: Watch, run: Await
) -> None:
    async def stopped() -> Watched:
        async with opened(tmp_path / "code") as cold:
            for step in long_steps:
                await cold.start(*step.split())
            return await asyncio.to_thread(watch, list(LONG_STEPS))

    assert run(stopped()).survivors() == []


def test_when_the_host_is_killed_who_waits_for_a_step_is_told_and_no_step_is_left(
    long_steps: list[str], tmp_path: Path, watch: Watch, run: Await
) -> None:
    (tmp_path / "code" / "host.py").write_text(TELL_HOST)

    async def killed() -> Watched:
        async with opened(tmp_path / "code") as cold:
            await soon((await cold.start("host.py", "host.pid")).ended)
            steps = [await cold.start(*step.split()) for step in long_steps]
            watched = await asyncio.to_thread(watch, list(LONG_STEPS))
            os.kill(int((tmp_path / "code" / "host.pid").read_text()), signal.SIGKILL)
            for step in steps:
                with pytest.raises(ServiceError, match=r"signal SIGKILL; the machine .* memory\. No step is left"):
                    await soon(step.ended)
            with pytest.raises(ServiceError, match="Start the same command again"):
                await cold.start("host.py", "host.pid")
            return watched

    assert run(killed()).survivors() == []


@pytest.mark.parametrize(
    ("name", "command"),
    [
        *((name, "{0}") for name in LONG_STEPS if name.startswith("parent")),
        ("parent_of_a_session", "exec {0}"),
        ("parent_of_a_session", "( {0} & ) ; sleep 0.1"),
    ],
)
def test_what_a_step_leaves_in_the_background_ends_with_it(
    name: str, command: str, tmp_path: Path, watch: Watch, host: Host, write: Write, run: Await
) -> None:
    write({"code/main.py": LONG_STEP + dedent(LONG_STEPS[name])})
    script = ("main.py", f"../{name}.pipe")

    async def left() -> tuple[Watched, list[int]]:
        starting = (
            host.start(*script) if command == "{0}" else _shell(host, command.format(f"python {' '.join(script)}"))
        )
        step = await starting
        watched = await asyncio.to_thread(watch, [name])
        await soon(step.ended)
        return watched, [pid for pid, end in watched.ends.items() if not select.select([end], [], [], 0)[0]]

    assert run(left())[1] == []


async def _shell(host: Host, text: str) -> Process:
    return await host.host.run(host.command(text))


def test_what_a_step_leaves_may_end_by_itself_and_all_that_it_prints_is_in_the_log(host: Host, run: Await) -> None:
    ran = run(host.shell("(sleep 0.5; echo slow) & setsid bash -c 'sleep 0.3; echo apart' & echo quick; exit 3"))

    assert ran == Ran(3, "quick\napart\nslow\n")


def test_the_end_of_a_step_ends_nothing_of_another_and_does_not_wait_for_it(
    watch: Watch, host: Host, write: Write, run: Await
) -> None:
    write({"code/main.py": LONG_STEP + dedent(LONG_STEPS["parent_of_a_session"]) + "sys.stdin = open(sys.argv[2])"})
    os.mkfifo(host.folder / "go")

    async def ended() -> list[bool]:
        step = await host.start("main.py", "../parent_of_a_session.pipe", "go")
        watched = await asyncio.to_thread(watch, ["parent_of_a_session"])
        assert (await host.shell("true")).code == 0
        alive = [not select.select([end], [], [], 0)[0] for end in watched.ends.values()]
        (await opened_for_writing(host.folder / "go")).close()
        await soon(step.ended)
        return alive

    assert run(ended()) == [True, True]


@pytest.mark.parametrize("name", ["parent", "parent_of_a_session"])
def test_a_signal_reaches_all_that_a_step_has_started(
    name: str, long_steps: list[str], watch: Watch, host: Host, run: Await
) -> None:
    async def signalled() -> tuple[Ended, Watched]:
        step = await host.start(f"{name}.py", f"../{name}.pipe")
        watched = await asyncio.to_thread(watch, [name])
        host.host.signal(step, signal.SIGINT)
        return await soon(step.ended), watched

    ended, watched = run(signalled())
    assert ended.code == -signal.SIGINT
    assert watched.survivors() == []
