"""A state that cannot be used, and a disk that is full: one message with file, cause and remedy; no traceback."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import httpx
import pytest

from flows.cli.main import main
from flows.cli.state.usable import explained, is_told_at_the_end
from flows.errors import RunError, ServiceError, StateError, StepFailed
from flows.machine.faults import Cause, cause_in, cause_of, state_error
from flows.settings import Settings
from tests.terminal import PROJECT

JOB = "type: command\nname: quick\nenvironment: azureml:diabetes-classify@latest\ncommand: echo began\n"
NOBODY = 65534


def as_another_user(home: Path, *words: str) -> tuple[int, str]:
    """Run a command in this program's copy as a user who owns nothing; its exit code, and what it printed."""
    said = os.memfd_create("said")
    child = os.fork()
    if child == 0:  # whatever happens here must not go on as the tests
        code = 99
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setuid(NOBODY)
            os.environ["TANDEM_HOME"] = str(home)
            with open(said, "w", closefd=False) as output, redirect_stdout(output), redirect_stderr(output):
                code = main(words)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    with open(said, "rb") as output:
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read().decode()


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user can reach; those of pytest are its user's own."""
    folder = Path(tempfile.mkdtemp(prefix="tandem-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make the folder of another user")
def test_state_of_another_user_is_named_with_its_owner(reachable: Path) -> None:
    home = reachable / "state"
    (home / "prefect").mkdir(parents=True)
    code, said = as_another_user(home, "state", "check")
    assert code == 1 and "belong to root, and you are nobody" in said, said
    assert "Traceback" not in said
    code, said = as_another_user(home, "state", "clean")
    assert code == 4 and "Traceback" not in said
    assert (home / "prefect").is_dir()
    code, said = as_another_user(home, "state", "repair")
    assert code == 4 and f"{home} belongs to root, and you are nobody" in said, said


def test_state_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "job.yml").write_text(JOB)
    environment = {**os.environ, "TANDEM_HOME": str(tmp_path / "file" / "state")}
    done = subprocess.run(
        [sys.executable, "-m", "flows", "run", str(tmp_path / "job.yml")],
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 4, done.stderr
    assert "something else lies in its place" in done.stderr and "TANDEM_HOME" in done.stderr
    assert "Traceback" not in done.stderr


# None of these bounds is met by what Python itself writes; each stops another part of the run.
BOUNDS = [
    20_000,
    pytest.param(600_000, marks=pytest.mark.slow),
    pytest.param(1_350_000, marks=pytest.mark.slow),
    pytest.param(2_000_000, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("bytes_at_most", BOUNDS)
def test_full_disk_is_one_message_and_the_same_command_goes_on_when_there_is_space(
    tmp_path: Path, bytes_at_most: int
) -> None:
    """A limit on the size of files stands in for the disk: the system refuses to write in the same calls."""
    (tmp_path / "job.yml").write_text(JOB)
    words = [sys.executable, "-m", "flows", "run", str(tmp_path / "job.yml")]
    environment = {**os.environ, "TANDEM_HOME": str(tmp_path / "state")}

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_at_most, bytes_at_most))

    def run(before: Callable[[], None] | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            words, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=300, preexec_fn=before
        )

    done = run(bounded)
    assert done.returncode in (3, 4), done.stderr
    assert done.stderr.count("Error: ") == 1 and "Traceback" not in done.stderr
    again = run()
    assert again.returncode == 0, again.stderr


def test_cause_is_told_from_what_the_system_and_sqlite_say() -> None:
    assert cause_in("(sqlite3.OperationalError) database or disk is full") is Cause.FULL
    assert cause_in("sqlite3.DatabaseError: database disk image is malformed") is Cause.BROKEN
    assert cause_in("the step train failed") is None
    try:
        try:
            os.listdir("/proc/self/mem/none")
        except OSError as error:
            raise ValueError("something") from error
    except ValueError as error:
        assert cause_of(error) == (Cause.MISPLACED, "/proc/self/mem/none")


def test_run_that_failed_is_told_by_what_is_wrong_with_the_state_and_else_as_it_was(tmp_path: Path) -> None:
    settings = Settings.from_environment({"TANDEM_HOME": str(tmp_path)})
    failed = StepFailed("The step train failed with exit code 1.")
    assert explained(failed, settings) is failed
    full = explained(ServiceError("MLflow: database or disk is full"), settings)
    assert isinstance(full, StateError) and "no space left" in str(full)
    (tmp_path / "mlflow.db").write_bytes(b"x" * 5000)
    broken = explained(RunError("MLflow failed"), settings)
    assert isinstance(broken, StateError) and "mlflow.db: the database is broken" in str(broken)
    assert "It ended the run: MLflow failed" in str(broken)


def test_prefect_api_that_is_gone_in_the_middle_of_a_run_is_told_in_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    error = httpx.ConnectError("All connection attempts failed")
    assert is_told_at_the_end(error)
    told = explained(error, Settings.from_environment({"TANDEM_HOME": str(tmp_path)}))
    assert isinstance(told, ServiceError)
    assert "http://127.0.0.1:9/api failed in the middle of the run: All connection attempts failed." in str(told)
    assert "Start the same command again" in str(told)


def test_a_cause_that_has_no_remedy_of_its_own_is_told_in_the_words_of_the_system() -> None:
    with pytest.raises(OSError) as raised:
        os.mkdir("/proc/nowhere")
    told = str(state_error(raised.value, "/elsewhere"))
    assert told.startswith(
        "/proc/nowhere: no such file or directory. What was whole is kept. Set TANDEM_HOME to another"
    )
