"""Step hosts of the tests: started for one test, or warm for many, with scripts to run in them."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncGenerator, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from flows.engines.local.host.client import Command, Ended, Process, StepHost
from flows.engines.local.host.processes import step_environment
from flows.settings import Settings

DEADLINE_SECONDS = 10  # nothing here waits so long unless it hangs


@dataclass(frozen=True, slots=True)
class Ran:
    """How a script ended, and all that it said."""

    code: int
    said: str


class Host:
    """A step host of a test, and its scripts' folder."""

    def __init__(self, host: StepHost, folder: Path) -> None:
        self.host = host
        self.folder = folder
        self.environment = environment_of(folder)
        self.imported: Path | None = None

    def command(
        self, text: str | list[str], script: Sequence[str] | None = None, modules: Sequence[str] = ()
    ) -> Command:
        log = self.folder.with_name("log.txt")
        return Command(text, self.folder, self.environment, log, script, modules, self.imported)

    async def start(self, *script: str, modules: Sequence[str] = ()) -> Process:
        return await self.host.run(self.command(f"python {' '.join(script)}", script, modules))

    async def run(self, *script: str, modules: Sequence[str] = ()) -> tuple[Ran, bool]:
        """Run a script to its end; the second value says whether it was forked."""
        command = self.command(f"python {' '.join(script)}", script, modules)
        command.log.unlink(missing_ok=True)
        process = await self.host.run(command)
        ended = await soon(process.ended)
        return Ran(ended.code, command.log.read_text()), process.started.result()

    async def shell(self, text: str) -> Ran:
        command = self.command(text)
        command.log.unlink(missing_ok=True)
        ended = await soon((await self.host.run(command)).ended)
        return Ran(ended.code, command.log.read_text())


def environment_of(folder: Path) -> dict[str, str]:
    """The environment of the steps, with the local state in a folder."""
    return dict(step_environment(Settings.from_environment({"TANDEM_HOME": str(folder)})))


async def soon(ended: "asyncio.Future[Ended]") -> Ended:
    return await asyncio.wait_for(asyncio.shield(ended), DEADLINE_SECONDS)


@contextlib.asynccontextmanager
async def opened(
    folder: Path, preload: Sequence[str] = (), python: Path = Path(sys.executable), **environment: str
) -> AsyncGenerator[Host]:
    folder.mkdir(exist_ok=True)
    helper = Command(["cat"], folder, environment_of(folder), folder.with_name("helper.txt"))
    host = StepHost.start(python, environment_of(folder) | environment, preload, helper)
    await host.connect()
    reader, writer = await host.helper_streams()
    try:
        yield Host(host, folder)
    finally:
        writer.close()
        await reader.read()
        await host.stop()


def as_new_process(host: Host, *script: str) -> Ran:
    """Run a script by a new interpreter, the way a shell would."""
    ended = subprocess.run(
        ["python", *script],
        cwd=host.folder,
        env=host.environment,
        executable=sys.executable,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        check=False,
    )
    return Ran(ended.returncode, ended.stdout.decode())


async def soon_started(starting: Coroutine[Any, Any, Process]) -> Process:
    return await asyncio.wait_for(starting, DEADLINE_SECONDS)


async def opened_for_writing(fifo: Path) -> TextIO:
    return await asyncio.to_thread(fifo.open, "w")
