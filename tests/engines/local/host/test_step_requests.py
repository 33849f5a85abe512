"""Steps that cannot be started, requests and answers that make no sense: each is told, and the others go on."""

import asyncio
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from flows.engines.local.host.client import Command, StepHost
from flows.errors import SettingsError
from tests.conftest import Write
from tests.engines.conftest import Await
from tests.engines.local.host.hosts import Host, Ran, opened, soon, soon_started

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks steps")


def test_a_step_whose_folder_is_not_there_is_a_settings_error(host: Host, run: Await) -> None:
    host.folder.rmdir()

    with pytest.raises(SettingsError, match=re.escape(str(host.folder))):
        run(host.shell("true"))
    with pytest.raises(SettingsError, match=re.escape(str(host.folder))):
        run(host.start("main.py"))


def test_a_step_whose_program_is_not_there_is_a_settings_error(host: Host, run: Await) -> None:
    command = Command(["/no/such/bash", "-c", "true"], host.folder, host.environment, host.folder / "log.txt")

    with pytest.raises(SettingsError, match=r"cannot be started.*/no/such/bash"):
        run(host.host.run(command))


Change = Callable[[Command], Command]


def _with(name: str, value: str) -> Change:
    return lambda it: replace(it, environment={**it.environment, name: value})


# What no process can be started with, and what is said of it.
REFUSED: dict[str, tuple[Change, str]] = {
    "name_with_an_equals_sign": (_with("LD PRELOAD=x", "1"), "'LD PRELOAD=x' as the name of an environment .*: rename"),
    "empty_name": (_with("", "1"), "'' as the name of an environment variable: rename it"),
    "name_with_a_nul": (_with("a\0b", "1"), "as the name of an environment variable: rename it"),
    "value_with_a_nul": (_with("RATE", "0\0001"), "RATE has a NUL character in its value: take it out"),
    "value_that_is_no_text": (_with("RATE", "\ud800"), "'RATE' cannot be written in utf-8"),
    "log_in_no_folder": (lambda it: replace(it, log=it.folder / "no" / "log.txt"), "No such file.*no/log.txt"),
    "log_that_is_a_folder": (lambda it: replace(it, log=it.folder), "Is a directory"),
    "log_with_a_nul": (lambda it: replace(it, log=it.folder / "a\0b"), "null (byte|character)"),
    "folder_with_a_nul": (lambda it: replace(it, folder=Path("/a\0b"), script=None), "null (byte|character)"),
    "folder_that_is_a_file": (lambda it: replace(it, folder=it.folder / "main.py"), "Not a directory.*main.py"),
}
REFUSED_BY_EXEC: dict[str, tuple[Change, str]] = {
    "long_command": (
        lambda it: replace(it, text="true " + "x" * (1 << 22)),
        "Argument list too long.*put what is long",
    ),
    "long_environment": (_with("LONG", "x" * (1 << 22)), "Argument list too long.*put what is long into a file"),
    "command_with_a_nul": (lambda it: replace(it, text="true \0"), "null (byte|character)"),
}


@pytest.mark.parametrize(
    ("name", "forked"),
    [*((name, forked) for name in REFUSED for forked in (True, False)), *((it, False) for it in REFUSED_BY_EXEC)],
)
def test_a_step_that_cannot_be_started_is_refused_and_the_others_go_on(
    name: str, forked: bool, host: Host, write: Write, run: Await
) -> None:
    write({"code/main.py": "print('ran')"})
    change, said = {**REFUSED, **REFUSED_BY_EXEC}[name]

    async def refused() -> tuple[str, Ran, bool]:
        other = await host.host.run(host.command("sleep 100"))
        with pytest.raises(SettingsError, match=r"^The step cannot be started: ") as raised:
            await soon_started(host.host.run(change(host.command("python main.py", ["main.py"] if forked else None))))
        ran, was_forked = await host.run("main.py")
        host.host.signal(other, signal.SIGTERM)
        assert (await soon(other.ended)).code == -signal.SIGTERM
        return str(raised.value), ran, was_forked

    message, ran, was_forked = run(refused())
    assert re.search(said, message)
    assert len(message) < 3000
    assert (ran, was_forked) == (Ran(0, "ran\n"), True)


def test_steps_that_are_refused_leave_no_file_open(host: Host, run: Await) -> None:
    async def open_files() -> int:
        return int((await host.shell("ls /proc/$PPID/fd | wc -l")).said)

    async def refused() -> tuple[int, int]:
        before = await open_files()
        for _ in range(50):
            with pytest.raises(SettingsError):
                await soon_started(host.host.run(host.command("true \0")))
        return before, await open_files()

    before, after = run(refused())
    assert after < before + 25  # while it imports it has some more at times


def test_requests_that_make_no_sense_are_told_and_passed_over(
    tmp_path: Path, run: Await, capfd: pytest.CaptureFixture[str]
) -> None:
    async def sent() -> Ran:
        async with opened(tmp_path / "code") as cold:
            step = await cold.host.run(cold.command("sleep 100"))
            for line in (b"\xff\xfe", b"[]", b"{}", b"null", b'{"preload": 3}', b'{"start": "x"}', b'{"signal": "x"}'):
                _writer_of(cold.host).write(line + b"\n")
            for number in (999, -1, 1 << 70):
                cold.host.signal(step, number)
            ran = await cold.shell("echo ran")
            assert not step.ended.done()
            return ran

    assert run(sent()).said == "ran\n"
    assert capfd.readouterr().err.count("step host: not understood: ") == 9


def _writer_of(host: StepHost) -> asyncio.StreamWriter:
    writer = vars(host)["_writer"]
    assert isinstance(writer, asyncio.StreamWriter)
    return writer


ODD_ANSWERS = (
    *(b"\xff", b"null", b"[1]", b"3", b"{}", b'{"started": "no such"}', b'{"ended": "1"}', b'{"refused": "no such"}'),
    *(b'{"ended": "1", "code": "x", "left": false}', b'"half', b""),
)


def test_answers_that_make_no_sense_are_told_and_passed_over(
    host: Host, run: Await, caplog: pytest.LogCaptureFixture
) -> None:
    for answer in ODD_ANSWERS:
        host.host._take(answer)  # pyright: ignore[reportPrivateUsage]

    assert caplog.text.count("said what makes no sense") == len(ODD_ANSWERS)
    assert run(host.shell("echo ran")).said == "ran\n"


def test_the_end_of_a_step_that_nobody_waits_for_any_more_does_no_harm(host: Host, run: Await) -> None:
    async def given_up() -> Ran:
        step = await host.host.run(host.command("sleep 0.1"))
        step.ended.cancel()
        await host.shell("sleep 0.3")
        return await host.shell("echo ran")

    assert run(given_up()).said == "ran\n"


def test_a_host_whose_standard_error_is_closed_starts_steps(tmp_path: Path, run: Await) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@" 2>&-\n')
    python.chmod(0o755)

    async def ran() -> Ran:
        async with opened(tmp_path / "code", python=python) as cold:
            return await cold.shell("echo ran")

    assert run(ran()).said == "ran\n"


def test_an_interpreter_that_is_not_there_is_a_settings_error(tmp_path: Path) -> None:
    helper = Command(["cat"], tmp_path, {}, tmp_path / "log.txt")

    with pytest.raises(SettingsError, match="/no/such/python"):
        StepHost.start(Path("/no/such/python"), {}, (), helper)


def test_a_step_that_is_given_up_while_it_starts_leaves_the_host_in_order(host: Host, run: Await) -> None:
    async def given_up() -> Ran:
        starting = asyncio.create_task(host.host.run(host.command("true")))
        await asyncio.sleep(0)  # the request is sent, and not yet answered
        starting.cancel()
        await asyncio.wait([starting])
        return await host.shell("echo next")

    assert run(given_up()).said == "next\n"
