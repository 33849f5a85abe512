"""A step that the host forks is the same as one that a new interpreter runs."""

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from flows.engines.local.host import client as processes
from flows.engines.local.host.client import HOST_SCRIPT
from tests.conftest import Write
from tests.engines.conftest import Await
from tests.engines.local.host.hosts import Host, Ran, as_new_process, opened

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks steps")

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


# What a new process does otherwise from 3.12 on, and a fork does as before.
OTHERWISE = {
    "exit_with_what_cannot_be_printed": "it reports, too, why the text could not be printed",
    "thread_started_at_the_end": "3.12 refuses the thread, 3.13 takes it",
}


@pytest.mark.parametrize("name", SAME)
def test_a_forked_script_does_what_a_new_process_does(name: str, host: Host, write: Write, run: Await) -> None:
    if name in OTHERWISE and sys.version_info >= (3, 12):
        pytest.skip(OTHERWISE[name])
    write({"code/main.py": SAME[name], "code/near.py": "VALUE = 1\nkept = open('near.txt', 'w')"})

    ran, forked = run(host.run("main.py", "--rate", "0.1", "ż 1"))

    written = files(host.folder)
    assert forked
    assert ran == as_new_process(host, "main.py", "--rate", "0.1", "ż 1")
    assert written == files(host.folder)


def files(folder: Path) -> dict[str, bytes]:
    """The content of every file that a step wrote."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_calls_take_no_memory_from_the_system_however_deep_in_the_stack_they_are(
    host: Host, write: Write, run: Await
) -> None:
    script = """
        import resource
        def large(x=1):
            return (x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x)
        def faults_at(depth):
            if depth:
                return faults_at(depth - 1)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(2000):
                large()
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        print(max(faults_at(depth) for depth in range(300)))
    """
    write({"code/main.py": script})

    ran, forked = run(host.run("main.py"))

    assert forked
    assert int(ran.said) < 1000


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
