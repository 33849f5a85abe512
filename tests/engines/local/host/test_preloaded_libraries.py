"""Libraries that the host preloads: those that do harm, fail or never end are left to a new process."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from flows.engines.local.host import client as processes
from flows.engines.local.host.client import HOST_SCRIPT
from flows.engines.local.host.step_imports import PRELOADABLE
from flows.errors import SettingsError
from tests.conftest import Write
from tests.engines.conftest import Await
from tests.engines.local.host.hosts import Ran, opened, opened_for_writing, soon

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks steps")

# A library that is preloaded, and does in the step host what its name says.
HOSTILE_LIBRARIES = {
    "exits": "raise SystemExit(3)",
    "is_interrupted": "raise KeyboardInterrupt",
    "fails": "import json; 1 / 0",
    "has_a_bad_name": "raise OSError('\\udcff')",
    "starts_a_thread": "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
    "closes_its_standard_error": "import os; os.close(2); 1 / 0",
}


@pytest.mark.parametrize("name", HOSTILE_LIBRARIES)
def test_a_library_that_does_harm_when_it_is_preloaded_is_left_to_a_new_process_in_silence(
    name: str, tmp_path: Path, write: Write, run: Await, capfd: pytest.CaptureFixture[str]
) -> None:
    write({"lib/skops.py": HOSTILE_LIBRARIES[name], "code/main.py": "print('ran')"})

    async def ran() -> list[tuple[Ran, bool]]:
        async with opened(tmp_path / "code", ["skops"], PYTHONPATH=str(tmp_path / "lib")) as cold:
            return [await cold.run("main.py", modules=["skops"]), await cold.run("main.py", modules=["numpy"])]

    alone = name != "starts_a_thread"
    assert run(ran()) == [(Ran(0, "ran\n"), False), (Ran(0, "ran\n"), alone)]
    assert "step host" not in capfd.readouterr().err


@pytest.fixture
def with_limit(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Let the step hosts of a test have another limit than usual: the line that sets it, and one in its place."""

    def set_limit(line: str, other: str) -> None:
        copied = {it.name: it.read_text(encoding="utf-8") for it in HOST_SCRIPT.parent.glob("step_*.py")}
        assert line in copied["step_imports.py"]
        copied["step_imports.py"] = copied["step_imports.py"].replace(line, other)
        write({f"engines/{name}": text for name, text in copied.items()})
        monkeypatch.setattr(processes, "HOST_SCRIPT", tmp_path / "engines" / "step_host.py")

    return set_limit


@pytest.mark.parametrize(("limit", "is_there"), [("512 << 20", True), ("1 << 20", False)])
def test_a_host_that_occupies_enough_memory_leaves_further_imports_to_the_steps(
    limit: str, is_there: bool, with_limit: Callable[[str, str], None], tmp_path: Path, write: Write, run: Await
) -> None:
    with_limit("MOST_BYTES = 512 << 20", f"MOST_BYTES = {limit}")
    script = "import sys; print('skops' in sys.modules); import skops"
    write({"lib/skops.py": "VALUE = 1", "code/main.py": script})

    async def ran() -> tuple[Ran, bool]:
        async with opened(tmp_path / "code", ["skops"], PYTHONPATH=str(tmp_path / "lib")) as cold:
            return await cold.run("main.py", modules=["skops"])

    assert run(ran()) == (Ran(0, f"{is_there}\n"), True)


def test_a_forked_script_notes_what_it_imported_itself_but_not_what_others_must_not_see(
    tmp_path: Path, write: Write, run: Await
) -> None:
    libraries = ("skops/__init__.py", "skops/io.py", "sklearn/__init__.py", "sklearn/experimental.py", "other.py")
    write({f"lib/{name}": "" for name in (*libraries, "joblib.py")} | {"code/git.py": "", "code/near.py": ""})
    write({"code/main.py": "import joblib, skops.io, sklearn.experimental, other, git, near, sys; sys.exit(3)"})

    async def ran() -> tuple[Ran, bool]:
        async with opened(tmp_path / "code", ["joblib"], PYTHONPATH=str(tmp_path / "lib")) as cold:
            cold.imported = tmp_path / "imported.json"
            return await cold.run("main.py", modules=["joblib"])

    assert run(ran()) == (Ran(3, ""), True)
    assert json.loads((tmp_path / "imported.json").read_text()) == ["skops", "skops.io", "sklearn"]


def test_an_import_that_does_not_end_is_given_up(
    with_limit: Callable[[str, str], None], tmp_path: Path, write: Write, run: Await
) -> None:
    """By a step host whose patience is shorter than usual."""
    with_limit("IMPORT_SECONDS = 120.0", "IMPORT_SECONDS = 0.5")
    write({"lib/skops.py": "import time\nwhile True: time.sleep(100)", "code/main.py": "print('ran')"})

    async def ran() -> tuple[Ran, bool]:
        async with opened(tmp_path / "code", PYTHONPATH=str(tmp_path / "lib")) as cold:
            return await cold.run("main.py", modules=["skops"])

    assert run(ran()) == (Ran(0, "ran\n"), False)


# Where a fork fails, or what follows it in the new process: as a library of the step host makes it.
FAILING_CALLS = {
    "fork": ("errno.EAGAIN", r"may have no more processes"),
    "setsid": ("errno.EPERM", "The step cannot be started: .*setsid"),
    "chdir": ("errno.ENOENT", "The step cannot be started: .*chdir"),
}


@pytest.mark.parametrize("call", FAILING_CALLS)
def test_what_fails_between_a_fork_and_the_script_ends_that_step_alone(
    call: str, tmp_path: Path, write: Write, run: Await
) -> None:
    number, said = FAILING_CALLS[call]
    library = f"""
        import errno, os
        plain = os.{call}
        def failing(*_):
            os.{call} = plain
            raise OSError({number}, "{call} failed")
        os.{call} = failing
    """
    write({"lib/skops.py": library, "code/main.py": "print('ran')"})

    async def ran() -> tuple[str, Ran]:
        async with opened(tmp_path / "code", ["numpy"], PYTHONPATH=str(tmp_path / "lib")) as cold:
            try:
                failed, forked = await cold.run("main.py", modules=["skops"])
                assert forked
                assert failed.code == 126
                message = failed.said
            except SettingsError as error:
                message = str(error)
            return message, await cold.shell("echo ran")

    message, ran_next = run(ran())
    assert re.search(said, message)
    assert ran_next == Ran(0, "ran\n")


def test_the_end_of_a_step_is_reported_while_the_host_imports(tmp_path: Path, write: Write, run: Await) -> None:
    """A library that is waiting to be imported, until the test lets it go on."""
    write(
        {
            "lib/skops.py": f"open({str(tmp_path / 'import')!r}).read()",
            "code/main.py": f"open({str(tmp_path / 'step')!r}).read()",
        }
    )
    os.mkfifo(tmp_path / "import")
    os.mkfifo(tmp_path / "step")

    async def importing() -> int:
        async with opened(tmp_path / "code", PYTHONPATH=str(tmp_path / "lib")) as cold:
            first = await cold.start("main.py")
            second = asyncio.create_task(cold.start("main.py", modules=["skops"]))
            with await opened_for_writing(tmp_path / "import"):  # which is possible once the host imports
                (await opened_for_writing(tmp_path / "step")).close()
                ended = await soon(first.ended)
                assert not second.done()
            process = await second
            (await opened_for_writing(tmp_path / "step")).close()
            await soon(process.ended)
            return ended.code

    assert run(importing()) == 0


def test_a_library_that_the_interpreter_does_not_have_is_passed_over_in_silence(
    tmp_path: Path, run: Await, capfd: pytest.CaptureFixture[str]
) -> None:
    async def ended() -> Ran:
        async with opened(tmp_path / "code", ["numpy.of_another_version"]) as host:
            return await host.shell("true")

    assert run(ended()).code == 0
    assert capfd.readouterr().err == ""


def test_what_may_be_imported_before_a_fork_starts_no_thread_of_python() -> None:
    """The pools of OpenBLAS and of jemalloc, which are native, put themselves right after a fork."""
    code = f"""
        import importlib, json, os, threading
        started = {{}}
        for module in {sorted(PRELOADABLE)}:
            importlib.import_module(module)
            native = {{open(f"/proc/self/task/{{it}}/comm").read().strip() for it in os.listdir("/proc/self/task")}}
            started[module] = [threading.active_count(), sorted(native)]
        print(json.dumps(started))
    """
    said = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, check=True).stdout

    for module, (threads, native) in json.loads(said).items():
        assert threads == 1, module
        assert set(native) <= {"python", "jemalloc_bg_thd"}, module


def test_a_fork_beside_the_native_threads_of_preloaded_libraries_is_silent_and_hides_no_warning_of_the_step(
    tmp_path: Path, write: Write, run: Await, capfd: pytest.CaptureFixture[str]
) -> None:
    """From 3.12 on Python itself warns of such threads."""
    write({"code/main.py": "import warnings, pyarrow; warnings.warn('its own', DeprecationWarning)"})

    async def ran() -> tuple[Ran, bool]:
        async with opened(tmp_path / "code", ["pyarrow"]) as host:
            return await host.run("main.py", modules=["pyarrow"])

    ended, forked = run(ran())
    assert forked and "DeprecationWarning: its own" in ended.said
    assert capfd.readouterr().err == ""
