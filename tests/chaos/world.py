"""The place of one case: its folders, what its commands find in the environment, and the commands themselves."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.chaos.plan import Program
from tests.chaos.processes import below, holds_within, reap, send
from tests.chaos.small_pipeline import write_pipeline
from tests.terminal import PROJECT

BIN = Path(sys.executable).parent
DEADLINE_SECONDS = 180.0  # no command takes so long unless it hangs
ORPHAN_SECONDS = 15.0  # what a command has started may outlive it so long: its grace periods, on a busy machine
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "NO_PROXY", "no_proxy")


@dataclass(slots=True)
class Command:
    """A command that was started. ``label`` is what it is for; ``rate`` and ``number`` its input."""

    words: tuple[str, ...]
    program: Program
    rate: str
    number: int
    output: Path
    process: "subprocess.Popen[bytes]"
    files: tuple[IO[bytes], IO[bytes]]
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    hung: bool = False

    @property
    def pid(self) -> int:
        """Its process id, and that of its group."""
        return self.process.pid

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def wait(self, seconds: float = DEADLINE_SECONDS) -> None:
        """Wait for its end; what does not end in time is killed, and said to hang."""
        try:
            self.process.wait(max(1.0, seconds - (time.monotonic() - self.began)))
        except subprocess.TimeoutExpired:
            self.hung = True
            send([self.pid, *(process.pid for process in below(self.pid))], "SIGKILL")
            self.process.wait()
        self.seconds = time.monotonic() - self.began
        for file in self.files:
            file.close()

    @property
    def stdout(self) -> str:
        """What it has printed."""
        return Path(self.files[0].name).read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """What it has said."""
        return Path(self.files[1].name).read_text(errors="replace")

    @property
    def answer(self) -> dict[str, Any]:
        """The JSON that it has printed; empty if it has not come so far."""
        text = self.stdout
        try:
            return json.loads(text[text.index("{") :])
        except ValueError:
            return {}


class World:
    """Folders for one case; all that a command may write to is in ``state`` and ``out``."""

    def __init__(
        self, folder: Path, label: str, environment: Mapping[str, str] | None = None, helpers: Sequence[int] = ()
    ) -> None:
        self.folder = folder
        self.label = label
        self.helpers = list(helpers)  # processes that are no command's, with all that is below them
        self.state = folder / "state"
        self.cache = folder / "cache"
        self.temporary = folder / "tmp"
        self.commands: list[Command] = []
        for name in ("home", "cwd", "tmp", "out", "log", "beside"):
            (folder / name).mkdir(parents=True)
        self.file = write_pipeline(folder / "project", label)
        for name in ("home", "cwd", "beside"):
            (folder / name / "sentinel").mkdir()
            (folder / name / "sentinel" / "kept.txt").write_text(f"kept in {name}\n")
        self.environment = {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "TANDEM_HOME": str(self.state),
            "HOME": str(folder / "home"),
            "TMPDIR": str(self.temporary),
            "XDG_CACHE_HOME": str(self.cache),
            "DO_NOT_TRACK": "true",
            **(environment or {}),
        }

    def start(self, program: Program, rate: str, number: int, *, engine: str = "local", output: str) -> Command:
        """Start a command; ``output`` names its folder of results, which a second start of the same shares."""
        place = self.folder / "out" / output
        words = self._words(program, rate, number, engine, place)
        log = self.folder / "log" / f"{len(self.commands)}"
        files = log.with_suffix(".out").open("wb"), log.with_suffix(".err").open("wb")
        process = subprocess.Popen(
            words,
            cwd=self.folder / "cwd",
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=files[0],
            stderr=files[1],
            start_new_session=True,
        )
        command = Command(words, program, rate, number, place, process, files)
        self.commands.append(command)
        return command

    def again(self, command: Command) -> Command:
        """Start the same command once more."""
        engine = command.words[command.words.index("--engine") + 1]
        return self.start(command.program, command.rate, command.number, engine=engine, output=command.output.name)

    def _words(self, program: Program, rate: str, number: int, engine: str, place: Path) -> tuple[str, ...]:
        common = ("--engine", engine, "--json")
        if program == "steps":
            run = (str(BIN / "tandem"), "run", str(self.file), "--set", f"inputs.number={number}")
            return (*run, "--output-dir", str(place), *common)
        script = "create_aml_pipeline_train.py" if program == "pipeline" else "create_aml_experiment_job_train.py"
        flags = ("--reg_rate", rate, "--model_name", self.label, "--evaluation_output", str(place))
        labels = ("--pipeline", self.label) if program == "pipeline" else ("--experiment_name", self.label)
        solver = ("--solver", "liblinear")
        return (sys.executable, str(PROJECT / "flows" / script), *flags, *labels, *solver, *common)

    def run_other(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run another command of ``tandem`` to its end."""
        return subprocess.run(
            (str(BIN / "tandem"), *words),
            cwd=self.folder / "cwd",
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )

    def left_running(self) -> list[str]:
        """The processes that were started and are still there, a while after all commands have ended."""
        known = {command.pid for command in self.commands} | set(self.helpers)

        def alive() -> list[str]:
            reap(known)
            return [str(process) for process in below(os.getpid(), self.helpers) if not process.is_zombie]

        holds_within(lambda: not alive(), ORPHAN_SECONDS, 0.1)
        return alive()
