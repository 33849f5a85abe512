"""Driver of a parallel step: runs an entry script over mini-batches, in worker processes.

Run as a script by the interpreter of the steps. Its one argument is a JSON file, which
:mod:`flows.engines.local.parallel.command` writes. It imports the standard library only, and pandas where a mini-batch
is rows.

Workers are forks, all in the process group of this process, so that whoever ends the step ends them too. Each calls
``init()`` once, then ``run(mini_batch)`` for whatever it is given, and in the end ``shutdown()``.
"""

from __future__ import annotations

import collections
import contextlib
import importlib.util
import inspect
import json
import logging
import multiprocessing.connection
import os
import signal
import sys
import time
import traceback
import types
import warnings
from typing import Any, Dict, Iterator, NoReturn, Tuple  # noqa: UP035 (the steps' interpreter may be an old one)

Task = Dict[str, Any]  # noqa: UP006
# What run() is given, how many items that is, and the values of the partition keys.
MiniBatch = Tuple[Any, int, Dict[str, Any]]  # noqa: UP006

SHUTDOWN_SECONDS = 10.0
READY, DONE, FAILED = "ready", "done", "failed"


class BatchWorker:
    """A worker process: the connection to it, its mini-batch, and the deadline of that."""

    def __init__(self, pid: int, connection: multiprocessing.connection.Connection) -> None:
        self.pid = pid
        self.connection = connection
        self.is_ready = False
        self.number: int | None = None
        self.deadline: float | None = None

    def wait(self) -> str:
        """Wait for its end, and say how it ended."""
        self.connection.close()
        status = os.waitpid(self.pid, 0)[1]
        if os.WIFSIGNALED(status):
            return f"the worker was ended by the signal {signal.Signals(os.WTERMSIG(status)).name}"
        return f"the worker ended with exit code {os.WEXITSTATUS(status)}"

    def kill(self) -> None:
        """End it at once."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()


class Driver:
    """Hands mini-batches to workers, tries again what fails, and counts."""

    def __init__(self, task: Task, batches: list[MiniBatch]) -> None:
        self.task = task
        self.batches = batches
        self.waiting = collections.deque(range(len(batches)))
        self.tries = [0] * len(batches)
        self.lines: dict[int, list[str]] = {}  # results that wait for those of an earlier mini-batch
        self.written = 0
        self.workers: list[BatchWorker] = []
        self.failed_items = self.failed_batches = self.returned_items = self.over = 0
        place = task["append_row_to"]
        self.output = open(place, "w", encoding="utf-8") if place else None  # noqa: SIM115 (closed where all is over)

    def run(self) -> multiprocessing.connection.Connection | None:
        """Process everything. Returns None in the driver; in a new worker process, its connection to the driver."""
        while self.over < len(self.batches):
            while len(self.workers) < min(self.task["concurrency"], len(self.batches) - self.over):
                connection = self.fork()
                if connection is not None:
                    return connection
            for worker in self.workers:
                if worker.is_ready and worker.number is None and self.waiting:
                    self.hand_out(worker)
            deadlines = [worker.deadline for worker in self.workers if worker.deadline is not None]
            seconds = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
            heard = multiprocessing.connection.wait([worker.connection for worker in self.workers], seconds)
            for worker in list(self.workers):
                if worker.connection in heard:
                    self.hear(worker)
                elif worker.deadline is not None and worker.deadline <= time.monotonic():
                    self.workers.remove(worker)
                    worker.kill()
                    self.failed(worker, f"run() took longer than {self.task['timeout_seconds']} s")
        why = self.why_nothing_succeeded()
        if why:
            self.give_up(why)
        self.end_workers()
        return None

    def why_nothing_succeeded(self) -> str:
        """Why the step fails although its thresholds allow all failures: nothing came of any mini-batch."""
        if self.failed_batches == len(self.batches):
            return f"no mini-batch succeeded, whatever the thresholds allow: run() failed for all {len(self.batches)}"
        if self.output and not self.returned_items:
            return "no item of any mini-batch succeeded: run() returned nothing to append"
        return ""

    def fork(self) -> multiprocessing.connection.Connection | None:
        """Start a worker. Returns None in the driver; in the worker, its connection to the driver."""
        here, there = multiprocessing.Pipe()
        for file in filter(None, (sys.stdout, sys.stderr, self.output)):
            file.flush()  # so that the worker does not write it too
        with warnings.catch_warnings():
            # From 3.12 on Python warns of any thread, and pandas brings a native one, which puts itself right.
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            pid = os.fork()
        if pid:
            there.close()
            self.workers.append(BatchWorker(pid, here))
            return None
        here.close()
        for worker in self.workers:
            worker.connection.close()
        return there

    def hand_out(self, worker: BatchWorker) -> None:
        """Give a worker the next mini-batch."""
        number = worker.number = self.waiting.popleft()
        items, _, keys = self.batches[number]
        self.tries[number] += 1
        with contextlib.suppress(OSError):  # it has ended, which the next wait shows
            worker.connection.send((number, items, keys))
        worker.deadline = time.monotonic() + self.task["timeout_seconds"]

    def hear(self, worker: BatchWorker) -> None:
        """Read a worker's report: it is ready, or its mini-batch succeeded or failed; or nothing, if it has ended."""
        try:
            kind, said, count = worker.connection.recv()
        except (EOFError, OSError):
            self.workers.remove(worker)
            how = worker.wait()
            if not worker.is_ready:
                self.give_up(f"init() of {self.task['entry_script']} failed: {how}")
            self.failed(worker, how)
            return
        if kind == READY:
            worker.is_ready = True
        elif kind == FAILED:
            self.failed(worker, said)
        else:
            number = worker.number
            assert number is not None
            self.returned_items += count
            self.finish(number, said, max(0, self.batches[number][1] - count))
        if kind != READY:
            worker.number = worker.deadline = None

    def failed(self, worker: BatchWorker, why: str) -> None:
        """Try a mini-batch again, or count it as failed."""
        number = worker.number
        if number is None:
            return
        of = self.task["max_retries"] + 1
        print(f"mini-batch {number + 1} failed, try {self.tries[number]} of {of}: {why}", file=sys.stderr)
        if self.tries[number] < of:
            self.waiting.append(number)
            return
        self.failed_batches += 1
        self.finish(number, [], self.batches[number][1])

    def finish(self, number: int, lines: list[str], failed_items: int) -> None:
        """Count a mini-batch that is over, and write all results whose turn it is, in the order of the data."""
        self.over += 1
        self.failed_items += failed_items
        self.lines[number] = lines
        while self.written in self.lines:
            for line in self.lines.pop(self.written):
                if self.output:
                    self.output.write(f"{line}\n")
            self.written += 1
        for name, failed in (
            ("error_threshold", self.failed_items),
            ("mini_batch_error_threshold", self.failed_batches),
        ):
            if 0 <= self.task[name] < failed:
                what = "items" if name == "error_threshold" else "mini-batches"
                self.give_up(f"{failed} {what} failed, and {name} is {self.task[name]}")

    def end_workers(self) -> None:
        """Let the workers shut down, and end those that do not."""
        for worker in self.workers:
            worker.connection.close()
        end = time.monotonic() + SHUTDOWN_SECONDS
        left = [worker.pid for worker in self.workers]
        while left and time.monotonic() < end:
            left = [pid for pid in left if not os.waitpid(pid, os.WNOHANG)[0]]
            time.sleep(0.01)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        self.close()

    def give_up(self, why: str) -> NoReturn:
        """End with an error, and all workers with it."""
        for worker in self.workers:
            worker.kill()
        self.close()
        sys.exit(why)

    def close(self) -> None:
        """Close the output, and print the counts."""
        if self.output:
            self.output.close()
        items = sum(count for _, count, _ in self.batches)
        failed = f"{self.failed_items} items and {self.failed_batches} mini-batches failed"
        print(f"{len(self.batches)} mini-batches, {items} items: {failed}", flush=True)


def work(task: Task, connection: multiprocessing.connection.Connection) -> None:
    """Run as a worker: call the entry script on each mini-batch, until the driver closes the connection."""
    script = task["entry_script"]
    sys.argv = [script, *task["arguments"]]
    sys.path[:0] = dict.fromkeys((os.path.dirname(os.path.abspath(script)), os.getcwd()))
    offer_entry_script_class(task["logging_level"])
    module = import_script(script)
    getattr(module, "init", lambda: None)()
    with_context = takes_context(module.run)
    with contextlib.suppress(OSError):  # the others were faster: there is nothing left to do
        connection.send((READY, None, 0))
    while True:
        try:
            number, items, keys = connection.recv()
        except (EOFError, OSError):
            break
        context = types.SimpleNamespace(
            mini_batch_id=number, minibatch_index=number, dataset_name=task["input_name"], partition_key_value=keys
        )
        try:
            result = module.run(items, context) if with_context else module.run(items)
            lines, count = lines_of(result, bool(task["append_row_to"]))
            connection.send((DONE, lines, count))
        except Exception as error:
            traceback.print_exc()
            connection.send((FAILED, f"{type(error).__name__}: {error}", 0))
    getattr(module, "shutdown", lambda: None)()


def import_script(script: str) -> Any:
    """Import a file under its own name."""
    name = os.path.splitext(os.path.basename(script))[0]
    spec = importlib.util.spec_from_file_location(name, script)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def takes_context(run: Any) -> bool:
    """Whether run() wants to be told about its mini-batch, as its second parameter."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(one.kind in kinds for one in inspect.signature(run).parameters.values()) > 1


def lines_of(result: Any, is_wanted: bool) -> tuple[list[str], int]:
    """What run() returned as lines of text, if they are wanted, and how many items it has."""
    if hasattr(result, "to_csv") and hasattr(result, "columns"):
        text: str = result.to_csv(sep=" ", header=False, index=False) if is_wanted else ""
        return text.split("\n")[:-1], len(result)
    if not isinstance(result, (list, tuple)) and not hasattr(result, "tolist"):
        raise TypeError(f"run() returned {type(result).__name__}: it must return a list, a tuple or a DataFrame")
    return [str(item) for item in result] if is_wanted else [], len(result)


def offer_entry_script_class(level: str) -> None:
    """Let ``from azureml_user.parallel_run import EntryScript`` work, for the logger that it gives."""

    class EntryScript:
        """What Azure ML offers to entry scripts."""

        def __init__(self) -> None:
            self.logger = logging.getLogger("EntryScript")
            self.logger.setLevel(level)
            if not self.logger.handlers:
                self.logger.addHandler(logging.StreamHandler(sys.stdout))
            self.working_dir = os.getcwd()

    package, module = types.ModuleType("azureml_user"), types.ModuleType("azureml_user.parallel_run")
    package.__dict__.update(parallel_run=module, __path__=[])
    module.__dict__.update(EntryScript=EntryScript)
    sys.modules.update({package.__name__: package, module.__name__: module})


def mini_batches(task: Task) -> Iterator[MiniBatch]:
    """Cut the data: files by number, rows by the values of the keys or by size."""
    files: list[str] = task["files"]
    size: int = task["mini_batch_size"]
    if not task["transformations"]:
        for at in range(0, len(files), size):
            yield files[at : at + size], len(files[at : at + size]), {}
        return
    reader = import_script(os.path.join(os.path.dirname(os.path.abspath(__file__)), "rows.py"))
    frame, rows_of_files = reader.rows(files, task["transformations"])
    keys: list[str] = task["partition_keys"]
    if keys:
        for values, group in frame.groupby(keys, dropna=False):
            named = dict(zip(keys, values if isinstance(values, tuple) else (values,)))  # noqa: B905 (new in 3.10)
            yield group.reset_index(drop=True), len(group), named
        return
    stored = sum(os.path.getsize(file) for file in files)
    step = max(1, size * rows_of_files // max(1, stored))
    for at in range(0, len(frame), step):
        part = frame.iloc[at : at + step].reset_index(drop=True)
        yield part, len(part), {}


def hides_modules(folders: set[str]) -> bool:
    """Whether a module that is imported here has the name of one in the entry script's own code."""
    loaded = {name.partition(".")[0] for name in sys.modules} - {"__main__"}
    return any(
        name.partition(".")[0] in loaded
        for folder in folders
        for name in os.listdir(folder)
        if name.endswith((".py", ".so")) or os.path.isdir(os.path.join(folder, name))
    )


def main() -> None:
    """Process the task that the first argument names."""
    with open(sys.argv[1], encoding="utf-8") as file:
        task: Task = json.load(file)
    folders = {os.getcwd(), os.path.dirname(os.path.abspath(task["entry_script"]))}
    # The step host has imported libraries before it forked this process. A new interpreter has not; it is tried once.
    if len(sys.argv) == 2 and hides_modules(folders):
        os.execv(sys.executable, [sys.executable, __file__, sys.argv[1], "new"])
    batches = list(mini_batches(task))
    if not batches:
        sys.exit(f"There is nothing in the input {task['input_name']} to process.")
    connection = Driver(task, batches).run()
    if connection is not None:
        work(task, connection)


if __name__ == "__main__":
    sys.path.pop(0)  # the entry script must not import from the folder of this file
    main()
