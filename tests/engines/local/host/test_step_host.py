"""A step that the host forks is the same as one that a new interpreter runs; and no step outlives its run."""

import asyncio
import contextlib
import itertools
import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent
from typing import Any, TextIO

import pytest

from flows.engines.local.host import client as processes
from flows.engines.local.host.client import HOST_SCRIPT, Command, Ended, Process, StepHost
from flows.engines.local.host.processes import step_environment
from flows.engines.local.host.step_imports import PRELOADABLE
from flows.errors import ServiceError, SettingsError
from flows.settings import Settings
from tests.conftest import Write
from tests.engines.conftest import Await
from tests.terminal import PROJECT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks steps")

DEADLINE_SECONDS = 10  # nothing here waits so long unless it hangs

SAME = {
    "arguments": "import sys; print(sys.argv)",
    "name_and_file": "print(__name__, __file__, __doc__, __package__, __spec__, __annotations__, __cached__)",
    "names_of_a_module": "print(sorted(globals()))",
    "search_path": "import sys; print(sys.path)",
    "working_folder": "import os; print(os.getcwd())",
    "environment": "import os; print(sorted(os.environ.items()))",
    "flags": "import sys; print(sys.flags, sys.executable, sys.warnoptions)",
    "standard_input_is_empty": "import sys; print(repr(sys.stdin.read()), sys.stdin.isatty())",
    "streams": """
        import sys
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            print(stream.fileno(), stream.name, stream.encoding, stream.errors, stream.line_buffering)
    """,
    "streams_interleave": """
        import os, sys
        for number in range(3):
            print("out", number)
            print("err", number, file=sys.stderr)
            os.write(1, b"raw\\n")
    """,
    "open_files": "import os; print(len(os.listdir('/proc/self/fd')))",
    "signals": """
        import signal
        print([signal.getsignal(number) for number in sorted(signal.valid_signals())], signal.set_wakeup_fd(-1))
        print(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    """,
    "exit_code": "import sys; print('a'); sys.exit(3)",
    "exit_code_of_true": "import sys; sys.exit(True)",
    "exit_with_text": "import sys; sys.exit('the reason')",
    "exit_from_the_system": "import os; os._exit(5)",
    "exception": """
        def fail(depth):
            if depth:
                fail(depth - 1)
            raise ValueError("żółw")
        fail(2)
    """,
    "exception_with_a_cause": """
        try:
            {}["missing"]
        except KeyError as error:
            raise RuntimeError("second") from error
    """,
    "exception_group": "raise ExceptionGroup('both', [ValueError(1), TypeError(2)])",
    "syntax_error": "print('a'",
    "own_excepthook": "import sys; sys.excepthook = lambda *it: print('mine', it[0], it[1]); 1 / 0",
    "interrupt": "import atexit; atexit.register(print, 'bye'); raise KeyboardInterrupt",
    "terminated": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "warning": "import warnings; warnings.warn('beware')",
    "at_exit": "import atexit; atexit.register(print, 'bye'); print('hello')",
    "threads_are_joined": """
        import threading
        print(threading.active_count(), threading.current_thread() is threading.main_thread())
        def late():
            threading.main_thread().join()
            print("late")
        threading.Thread(target=late).start()
    """,
    "unclosed_files_are_written": """
        import sys, near
        kept = open("kept.txt", "w")
        kept.write("kept")
        near.kept.write("near")
        class Holder:
            file = open("held.txt", "w")
        Holder.file.write("held")
        class Ring: ...
        ring = Ring()
        ring.ring, ring.file = ring, open("ring.txt", "w")
        ring.file.write("ring")
        sys.stdout.write("no line end")
    """,
    "standard_output_replaced": "import sys; sys.stdout = open('kept.txt', 'w'); print('kept'); sys.exit(2)",
    "standard_output_closed": "import sys; print('hello'); sys.stdout.close()",
    "standard_error_is_none": "import sys; sys.stderr = None; sys.exit('unheard')",
    "finalizers": """
        import tempfile, weakref
        class Thing:
            def __del__(self):
                print("deleted")
        kept = Thing()
        finalizer = weakref.finalize(Thing, print, "finalized")
        folder = tempfile.TemporaryDirectory(dir=".")
        print("hello")
    """,
    "exception_at_exit": """
        import atexit
        class Last:
            __repr__ = lambda self: "last"
            def __call__(self):
                1 / 0
        atexit.register(Last())
    """,
    "daemon_thread": """
        import threading
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        print("hello")
    """,
    "thread_that_fails": "import threading; threading.Thread(target=lambda: 1 / 0, name='mine').start()",
    "pool_of_threads": """
        from concurrent.futures import ThreadPoolExecutor
        print(list(ThreadPoolExecutor().map(abs, [-1, 2])))
    """,
    "exit_code_beyond_a_byte": "import sys; sys.exit(-1)",
    "unicode": "print('żółć 🎉 \\udcff'.encode(errors='surrogateescape').decode(errors='replace'))",
    "seeded_random": """
        import random, numpy
        random.seed(1), numpy.random.seed(1)
        print(random.random(), numpy.random.random(), numpy.random.default_rng(1).random())
    """,
    "linear_algebra": """
        import numpy
        a = numpy.arange(250_000.0).reshape(500, 500) % 7
        print(float((a @ a).sum()), float(numpy.linalg.svd(a[:50, :50], compute_uv=False)[0]))
    """,
    "local_module": "import near; print(near.VALUE, near.__file__)",
    "source_and_types_of_main": """
        import inspect, typing
        class Row:
            value: "Other"
        class Other: ...
        print(typing.get_type_hints(Row), inspect.getsource(Row))
    """,
    "pickle_of_main": """
        import pickle
        class Model: ...
        print(pickle.dumps(Model()), type(pickle.loads(pickle.dumps(Model()))) is Model)
    """,
    "children": "import subprocess; print(subprocess.run(['sh', '-c', 'echo $0; exit 4'], stdin=-3).returncode)",
    "loader_of_main": "print(type(__loader__).__name__, __loader__.path, __loader__.get_filename('__main__'))",
    "original_arguments": "import sys; print(sys.orig_argv)",
    "annotations": """
        def fit(rate: float) -> int: ...
        print(fit.__annotations__)
    """,
    "excepthook_that_fails": """
        import sys
        def hook(*_):
            raise TypeError("worse")
        sys.excepthook = hook
        {}["missing"]
    """,
    "excepthook_that_exits": "import sys; sys.excepthook = lambda *_: sys.exit(7); 1 / 0",
    "exit_with_what_cannot_be_printed": """
        import sys
        class Reason:
            def __str__(self):
                raise ValueError
        sys.exit(Reason())
    """,
    "exit_in_a_thread": "import sys, threading; threading.Thread(target=sys.exit, args=(3,)).start(); print('hello')",
    "exit_from_the_system_in_a_thread": """
        import os, threading
        threading.Thread(target=os._exit, args=(9,)).start()
        threading.Event().wait()
    """,
    "at_exit_within_at_exit": """
        import atexit, sys
        def first():
            atexit.register(print, "second")
            print("first")
        atexit.register(first)
        sys.exit(4)
    """,
    "thread_started_at_the_end": """
        import threading, time
        def late():
            threading.main_thread().join()
            threading.Thread(target=print, args=("later",)).start()
        threading.Thread(target=late).start()
    """,
    "daemon_thread_that_works_to_the_end": """
        import threading
        class Counter: ...
        started = threading.Event()
        def count():
            while True:
                Counter.value = sum(map(int, "123"))
                started.set()
        threading.Thread(target=count, daemon=True).start()
        started.wait()
        print("hello")
    """,
    "finalizers_use_globals_and_modules": """
        import near, string
        WORDS = ["deleted"]
        class Thing:
            def __del__(self):
                print(WORDS, near.VALUE, string.digits)
        kept = Thing()
        string.thing = Thing
    """,
    "text_of_a_library_in_c": "import ctypes; ctypes.CDLL(None).printf(b'from C\\n')",
    "forked_by_the_script": """
        import os
        pid = os.fork()
        if pid:
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        else:
            raise SystemExit(5)
    """,
    "run_by_runpy": """
        import runpy, sys
        if sys.argv[1:] != ["again"]:
            sys.argv[1:] = ["again"]
            print(sorted(runpy.run_path("main.py", run_name="__main__")), __name__)
            print(runpy.run_module("near", alter_sys=True)["VALUE"], sys.modules["__main__"].__file__)
    """,
    "own_main_module_for_multiprocessing": """
        import multiprocessing, sys
        print(sys.modules["__mp_main__"] is sys.modules["__main__"])
    """,
    "shared_memory_and_queue": """
        import multiprocessing
        from multiprocessing import shared_memory
        def fill(name, queue):
            shared = shared_memory.SharedMemory(name)
            shared.buf[0] = 7
            shared.close()
            queue.put(multiprocessing.current_process().name)
        if __name__ == "__main__":
            shared, queue = shared_memory.SharedMemory(create=True, size=10), multiprocessing.Queue()
            child = multiprocessing.Process(target=fill, args=(shared.name, queue))
            child.start()
            print(queue.get(), child.join(), shared.buf[0])
            shared.close()
            shared.unlink()
    """,
    "joblib": """
        import joblib
        def square(number):
            return number * number
        if __name__ == "__main__":
            for backend in ("threading", "multiprocessing", "loky"):
                print(joblib.Parallel(2, backend=backend)(joblib.delayed(square)(number) for number in range(4)))
    """,
    "event_loop": "import asyncio; print(asyncio.run(asyncio.sleep(0, 'slept')))",
    **{
        f"multiprocessing_{method}": f"""
            import multiprocessing
            def square(number):
                return number * number
            if __name__ == "__main__":
                with multiprocessing.get_context("{method}").Pool(2) as pool:
                    print(pool.map(square, range(5)))
        """
        for method in ("fork", "spawn", "forkserver")
    },
    **{
        f"pool_of_processes_that_return_an_object_of_main_{method}": f"""
            import multiprocessing
            from concurrent.futures import ProcessPoolExecutor
            class Row:
                def __init__(self, number):
                    self.number = number
            if __name__ == "__main__":
                with ProcessPoolExecutor(2, multiprocessing.get_context("{method}")) as pool:
                    print([row.number for row in pool.map(Row, range(5))])
        """
        for method in ("fork", "spawn", "forkserver")
    },
}


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
        self.environment = _environment(folder)

    def command(
        self, text: str | list[str], script: Sequence[str] | None = None, modules: Sequence[str] = ()
    ) -> Command:
        log = self.folder.with_name("log.txt")
        return Command(text, self.folder, self.environment, log, script, modules)

    async def start(self, *script: str, modules: Sequence[str] = ()) -> Process:
        return await self.host.run(self.command(f"python {' '.join(script)}", script, modules))

    async def run(self, *script: str, modules: Sequence[str] = ()) -> tuple[Ran, bool]:
        """Run a script to its end; the second value says whether it was forked."""
        command = self.command(f"python {' '.join(script)}", script, modules)
        command.log.unlink(missing_ok=True)
        process = await self.host.run(command)
        ended = await _soon(process.ended)
        return Ran(ended.code, command.log.read_text()), process.started.result()

    async def shell(self, text: str) -> Ran:
        command = self.command(text)
        command.log.unlink(missing_ok=True)
        ended = await _soon((await self.host.run(command)).ended)
        return Ran(ended.code, command.log.read_text())


def _environment(folder: Path) -> dict[str, str]:
    return dict(step_environment(Settings.from_environment({"TANDEM_HOME": str(folder)})))


async def _soon(ended: "asyncio.Future[Ended]") -> Ended:
    return await asyncio.wait_for(asyncio.shield(ended), DEADLINE_SECONDS)


@contextlib.asynccontextmanager
async def opened(
    folder: Path, preload: Sequence[str] = (), python: Path = Path(sys.executable), **environment: str
) -> AsyncGenerator[Host]:
    folder.mkdir(exist_ok=True)
    helper = Command(["cat"], folder, _environment(folder), folder.with_name("helper.txt"))
    host = StepHost.start(python, _environment(folder) | environment, preload, helper)
    await host.connect()
    reader, writer = await host.helper_streams()
    try:
        yield Host(host, folder)
    finally:
        writer.close()
        await reader.read()
        await host.stop()


@pytest.fixture(scope="module")
def warm(run: Await, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StepHost]:
    """A host that has imported NumPy and multiprocessing, for all tests that do it no harm."""
    context = opened(tmp_path_factory.mktemp("warm"), ["numpy", "joblib"])
    yield run(context.__aenter__()).host
    run(context.__aexit__(None, None, None))


@pytest.fixture
def host(warm: StepHost, tmp_path: Path) -> Host:
    (tmp_path / "code").mkdir(exist_ok=True)
    return Host(warm, tmp_path / "code")


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


@pytest.mark.parametrize("name", SAME)
def test_a_forked_script_does_what_a_new_process_does(name: str, host: Host, write: Write, run: Await) -> None:
    write({"code/main.py": SAME[name], "code/near.py": "VALUE = 1\nkept = open('near.txt', 'w')"})

    ran, forked = run(host.run("main.py", "--rate", "0.1", "ż 1"))

    written = files(host.folder)
    assert forked
    assert ran == as_new_process(host, "main.py", "--rate", "0.1", "ż 1")
    assert written == files(host.folder)


def files(folder: Path) -> dict[str, bytes]:
    """The content of every file that a step wrote."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_script_in_a_folder_finds_the_modules_beside_it(host: Host, write: Write, run: Await) -> None:
    write({"code/sub/main.py": "import sys, near; print(sys.path[0], __file__, near.V)", "code/sub/near.py": "V = 1"})

    ran, forked = run(host.run("sub/main.py"))

    assert forked
    assert ran == as_new_process(host, "sub/main.py")


@pytest.mark.parametrize("place", ["engines", "."])
def test_a_script_beside_the_host_or_above_it_ends_like_any_other(
    place: str, tmp_path: Path, write: Write, run: Await, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in HOST_SCRIPT.parent.glob("step_*.py"):
        write({f"code/engines/{module.name}": module.read_text(encoding="utf-8")})
    monkeypatch.setattr(processes, "HOST_SCRIPT", tmp_path / "code" / "engines" / "step_host.py")
    write({f"code/{place}/main.py": "import multiprocessing; kept = open('kept.txt', 'w'); kept.write('kept')"})

    async def ran() -> tuple[Ran, bool]:
        async with opened(tmp_path / "code") as cold:
            return await cold.run(f"{place}/main.py", modules=["joblib"])

    assert run(ran()) == (Ran(0, ""), True)
    assert (tmp_path / "code" / "kept.txt").read_text() == "kept"


def test_a_script_that_is_not_there_fails_as_python_says_it(host: Host, run: Await) -> None:
    ran, _ = run(host.run("missing.py"))

    assert ran.code == 2
    assert "can't open file" in ran.said


def test_two_steps_draw_different_numbers_unless_they_seed(host: Host, write: Write, run: Await) -> None:
    write({"code/main.py": "import random, numpy; print(random.random(), numpy.random.random(), sep='\\n')"})

    one, other = (run(host.run("main.py"))[0].said.split() for _ in range(2))

    assert not set(one) & set(other)


@pytest.mark.parametrize("loaded", ["before", "with the step"])
def test_a_script_whose_own_module_has_a_librarys_name_is_not_forked(
    loaded: str, tmp_path: Path, write: Write, run: Await
) -> None:
    write({"code/main.py": "import numbers; print(numbers.MINE)", "code/numbers.py": "MINE = 1"})

    async def ran() -> tuple[Ran, bool]:
        async with opened(tmp_path / "code", ["numpy"] if loaded == "before" else []) as cold:
            return await cold.run("main.py", modules=["numpy"])

    assert run(ran()) == (Ran(0, "1\n"), False)


def test_whatever_is_not_a_plain_script_goes_through_bash(host: Host, run: Await) -> None:
    ran = run(host.shell("echo ${BASH_VERSION:+bash} | tr a-z A-Z && [[ 1 == 1 ]] && cd / && pwd; exit 7"))

    assert ran == Ran(7, "BASH\n/\n")


def test_a_shell_command_has_the_signals_and_streams_of_a_new_process(host: Host, write: Write, run: Await) -> None:
    write({"code/main.py": dedent(SAME["signals"]) + SAME["standard_input_is_empty"]})

    assert run(host.shell("exec python main.py")) == as_new_process(host, "main.py")


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
    "log_with_a_nul": (lambda it: replace(it, log=it.folder / "a\0b"), "null byte"),
    "folder_with_a_nul": (lambda it: replace(it, folder=Path("/a\0b"), script=None), "null byte"),
    "folder_that_is_a_file": (lambda it: replace(it, folder=it.folder / "main.py"), "Not a directory.*main.py"),
}
REFUSED_BY_EXEC: dict[str, tuple[Change, str]] = {
    "long_command": (
        lambda it: replace(it, text="true " + "x" * (1 << 22)),
        "Argument list too long.*put what is long",
    ),
    "long_environment": (_with("LONG", "x" * (1 << 22)), "Argument list too long.*put what is long into a file"),
    "command_with_a_nul": (lambda it: replace(it, text="true \0"), "null byte"),
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
            await _soon_started(host.host.run(change(host.command("python main.py", ["main.py"] if forked else None))))
        ran, was_forked = await host.run("main.py")
        host.host.signal(other, signal.SIGTERM)
        assert (await _soon(other.ended)).code == -signal.SIGTERM
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
                await _soon_started(host.host.run(host.command("true \0")))
        return before, await open_files()

    before, after = run(refused())
    assert after < before + 25  # while it imports it has some more at times


async def _soon_started(starting: Coroutine[Any, Any, Process]) -> Process:
    return await asyncio.wait_for(starting, DEADLINE_SECONDS)


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
def test_a_library_that_does_harm_when_it_is_preloaded_is_left_to_a_new_process(
    name: str, tmp_path: Path, write: Write, run: Await
) -> None:
    write({"lib/skops.py": HOSTILE_LIBRARIES[name], "code/main.py": "print('ran')"})

    async def ran() -> list[tuple[Ran, bool]]:
        async with opened(tmp_path / "code", ["skops"], PYTHONPATH=str(tmp_path / "lib")) as cold:
            return [await cold.run("main.py", modules=["skops"]), await cold.run("main.py", modules=["numpy"])]

    alone = name != "starts_a_thread"
    assert run(ran()) == [(Ran(0, "ran\n"), False), (Ran(0, "ran\n"), alone)]


def test_an_import_that_does_not_end_is_given_up(
    tmp_path: Path, write: Write, run: Await, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a step host whose patience is shorter than usual."""
    copied = {it.name: it.read_text(encoding="utf-8") for it in HOST_SCRIPT.parent.glob("step_*.py")}
    limit = "IMPORT_SECONDS = 120.0"
    assert limit in copied["step_imports.py"]
    copied["step_imports.py"] = copied["step_imports.py"].replace(limit, "IMPORT_SECONDS = 0.5")
    write({f"engines/{name}": text for name, text in copied.items()})
    write({"lib/skops.py": "import time\nwhile True: time.sleep(100)", "code/main.py": "print('ran')"})
    monkeypatch.setattr(processes, "HOST_SCRIPT", tmp_path / "engines" / "step_host.py")

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
        await _soon(other.ended)
        return ran, await host.shell("echo ran")

    assert run(sent()) == (Ran(-signal.SIGUSR1, ""), Ran(0, "ran\n"))


def test_a_signal_reaches_a_step_that_has_just_been_forked(host: Host, write: Write, run: Await) -> None:
    write({"code/main.py": "import signal; signal.pause()"})

    async def signalled() -> list[int]:
        codes: list[int] = []
        for _ in range(30):
            step = await host.start("main.py")
            host.host.signal(step, signal.SIGTERM)
            codes.append((await _soon(step.ended)).code)
        return codes

    assert run(signalled()) == [-signal.SIGTERM] * 30


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


def test_steps_that_end_at_once_are_all_reported(host: Host, write: Write, run: Await) -> None:
    write({"code/main.py": "import os; os._exit(0)"})

    async def many() -> list[int]:
        processes = [await host.start("main.py") for _ in range(50)]
        return [(await _soon(process.ended)).code for process in processes]

    assert run(many()) == [0] * 50


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
            with await _opened_for_writing(tmp_path / "import"):  # which is possible once the host imports
                (await _opened_for_writing(tmp_path / "step")).close()
                ended = await _soon(first.ended)
                assert not second.done()
            process = await second
            (await _opened_for_writing(tmp_path / "step")).close()
            await _soon(process.ended)
            return ended.code

    assert run(importing()) == 0


async def _opened_for_writing(fifo: Path) -> TextIO:
    return await asyncio.to_thread(fifo.open, "w")


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


LONG_STEPS = {
    "plain": "tell(os.getpid())",
    "deaf": "signal.signal(signal.SIGTERM, signal.SIG_IGN); tell(os.getpid())",
    "parent": "tell(os.getpid(), subprocess.Popen(['sleep', '1000']).pid)",
    "parent_of_a_deaf_child": """
        child = subprocess.Popen(['bash', '-c', 'trap "" TERM; echo; while :; do sleep 1000; done'], stdout=-1)
        child.stdout.readline()
        tell(os.getpid(), child.pid)
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
            await _soon((await cold.start("host.py", "host.pid")).ended)
            steps = [await cold.start(*step.split()) for step in long_steps]
            watched = await asyncio.to_thread(watch, list(LONG_STEPS))
            os.kill(int((tmp_path / "code" / "host.pid").read_text()), signal.SIGKILL)
            for step in steps:
                with pytest.raises(ServiceError, match=r"signal SIGKILL; the machine .* memory\. No step is left"):
                    await _soon(step.ended)
            with pytest.raises(ServiceError, match="Start the same command again"):
                await cold.start("host.py", "host.pid")
            return watched

    assert run(killed()).survivors() == []


def test_what_a_step_leaves_in_the_background_ends_with_it(
    long_steps: list[str], tmp_path: Path, watch: Watch, host: Host, write: Write, run: Await
) -> None:
    write({"code/main.py": LONG_STEP + dedent(LONG_STEPS["parent"])})

    async def left() -> Watched:
        step = await host.start("main.py", "../parent.pipe")
        watched = await asyncio.to_thread(watch, ["parent"])
        await _soon(step.ended)
        return watched

    assert run(left()).survivors() == []


def test_a_signal_reaches_all_that_a_step_has_started(
    long_steps: list[str], watch: Watch, host: Host, run: Await
) -> None:
    async def signalled() -> tuple[Ended, Watched]:
        step = await host.start("parent.py", "../parent.pipe")
        watched = await asyncio.to_thread(watch, ["parent"])
        host.host.signal(step, signal.SIGINT)
        return await _soon(step.ended), watched

    ended, watched = run(signalled())
    assert ended.code == -signal.SIGINT
    assert watched.survivors() == []
