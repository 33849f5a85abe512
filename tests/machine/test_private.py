"""Other users of this machine can read nothing of the local state; what a person asked for has their own umask."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from flows.cli.doctor.findings import Status
from flows.cli.doctor.machine import check_state
from flows.engines.local.host.processes import LocalProcesses
from flows.engines.local.shell_paths import ShellPaths
from flows.machine.private import UMASK, hand_out, hand_out_text, keep_private, make_folder, tighten
from flows.settings import PROJECT, Settings
from tests.terminal import Terminal

JOB = """
    type: pipeline
    settings: {default_compute: azureml:c}
    inputs: {rows: {type: uri_file, path: ./rows.csv}}
    outputs: {out: {type: uri_folder, path: ./delivered}}
    jobs:
      a:
        type: command
        environment: azureml:e:1
        code: ./code
        command: python main.py ${{inputs.rows}} ${{outputs.out}}
        inputs: {rows: "${{parent.inputs.rows}}"}
        outputs: {out: "${{parent.outputs.out}}"}
    """
STEP = """
    import os, shutil, sys
    import mlflow

    rows, out = sys.argv[1:]
    shutil.copy(rows, os.path.join(out, "copied with its modes.csv"))
    open(os.path.join(out, "written.csv"), "w").close()
    os.makedirs(os.path.join(out, "folder"))
    os.chmod(os.path.join(out, "folder"), 0o777)
    mlflow.log_artifact(rows)
    """


@pytest.fixture
def open_umask() -> Iterator[None]:
    """The widest umask, as whoever starts a command may have it."""
    before = os.umask(0)
    yield
    os.umask(before)


def of_others(folder: Path) -> dict[str, str]:
    """What group or others may do with a folder and anything in it: modes by path."""
    return {
        str(path.relative_to(folder)): oct(path.lstat().st_mode)
        for path in (folder, *folder.rglob("*"))
        if path.lstat().st_mode & 0o077 and not path.is_symlink()
    }


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_run_leaves_nothing_that_others_may_read_but_what_it_delivers(prefect_api: str, tmp_path: Path) -> None:
    leaves_nothing_open(Terminal(tmp_path, prefect_api), tmp_path, umask=0)


@pytest.mark.slow
def test_run_with_a_server_and_a_cache_of_its_own_leaves_neither_open(tmp_path: Path) -> None:
    leaves_nothing_open(Terminal(tmp_path, None), tmp_path, umask=0o027)
    assert (tmp_path / "c" / "tandem").is_dir()
    assert of_others(tmp_path / "c") == {}


def leaves_nothing_open(terminal: Terminal, tmp_path: Path, umask: int) -> None:
    project = tmp_path / "project"
    (project / "code").mkdir(parents=True)
    (project / "rows.csv").write_text("1\n")
    (project / "job.yml").write_text(dedent(JOB))
    (project / "code" / "main.py").write_text(dedent(STEP))
    for path in (project, project / "code", project / "rows.csv", project / "code" / "main.py"):
        path.chmod(0o777)
    environment = {**terminal.environment, "XDG_CACHE_HOME": str(tmp_path / "c"), "PYTHONPATH": str(PROJECT)}

    words = [sys.executable, "-m", "flows", "run", str(project / "job.yml"), "--output-dir", "deep/out", "--json"]
    done = subprocess.run(words, cwd=project, env=environment, umask=umask, timeout=300)

    assert done.returncode == 0
    assert (terminal.home / "state" / "mlflow.db").is_file()
    assert of_others(terminal.home / "state") == {}
    assert mode(project / "rows.csv") == 0o777  # nobody's business
    laid_out = project / "deep" / "out"
    for file in ("job.json", "outputs/out/written.csv", "steps/a/logs/std_log.txt"):
        assert mode(laid_out / file) == 0o666 & ~umask, file
    for folder in (laid_out.parent, laid_out, laid_out / "outputs" / "out" / "folder", project / "delivered"):
        assert mode(folder) == 0o777 & ~umask, folder
    assert json.loads((laid_out / "job.json").read_text())["status"] == "Completed"


def test_older_state_is_closed_once(home: Path, open_umask: None) -> None:
    (home / "prefect" / "results").mkdir(parents=True)
    (home / "prefect" / "results" / "rows").write_text("1")
    outside = home.parent / "outside"
    outside.mkdir()
    (outside / "file").touch()
    (home / "link").symlink_to(outside)
    (home / "shared").hardlink_to(outside / "file")
    keep_private()
    assert [path for path in of_others(home) if path != "shared"] == []
    assert mode(outside) == 0o777
    assert mode(outside / "file") == 0o666
    (home / "prefect").chmod(0o755)  # by somebody, on purpose
    keep_private()
    assert mode(home / "prefect") == 0o755
    assert os.environ[UMASK] == "000"


@pytest.mark.parametrize("names", [["notes.txt"], ["src", "Makefile"]])
def test_folder_of_something_else_is_left_as_it_is(names: list[str], home: Path, open_umask: None) -> None:
    home.mkdir()
    for name in names:
        (home / name).touch()
    keep_private()
    assert mode(home) == 0o777


def test_folder_that_all_share_is_left_as_it_is_and_told_by_the_doctor(home: Path, open_umask: None) -> None:
    home.mkdir()
    home.chmod(0o1777)
    keep_private()
    assert mode(home) == 0o1777
    found = check_state(Settings.from_environment())
    assert (found.status, "may enter" in found.message) == (Status.WARN, True)


def test_what_is_handed_out_has_the_umask_of_its_user_and_leaves_modes_that_are_there(
    tmp_path: Path, home: Path
) -> None:
    os.umask(0o027)
    keep_private()
    source, target = home / "o", tmp_path / "new" / "there"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "run.sh").write_text("")
    (source / "inner" / "run.sh").chmod(0o700)
    (source / "known").write_text("new")
    os.mkfifo(source / "pipe")
    (source / "nothing").symlink_to("absent")
    make_folder(target)
    target.chmod(0o711)
    (target / "known").write_text("old")
    (target / "known").chmod(0o604)
    hand_out(source, target)
    hand_out_text("{}", target / "job.json")
    modes = {str(path.relative_to(tmp_path)): mode(path) for path in (target.parent, *target.parent.rglob("*"))}
    assert modes == {
        "new": 0o750,
        "new/there": 0o711,
        "new/there/known": 0o604,
        "new/there/inner": 0o750,
        "new/there/inner/run.sh": 0o750,
        "new/there/job.json": 0o640,
    }
    assert (target / "known").read_text() == "new"

    of_deployed_run = home / "runs" / "1" / "outputs"
    make_folder(of_deployed_run)
    hand_out(source, of_deployed_run)
    assert of_others(home / "runs") == {}


def test_tighten_passes_over_what_is_not_there(tmp_path: Path) -> None:
    tighten(tmp_path / "absent")


def test_links_for_a_shell_are_in_a_folder_of_the_users_own(tmp_path: Path, open_umask: None) -> None:
    paths = ShellPaths(tmp_path)
    link = Path(paths.text(tmp_path / "a b" / "c"))
    (made,) = [path for path in link.parents if path.name.startswith("tandem-")]
    assert mode(made) == 0o700
    paths.close()


def test_processes_of_a_run_inherit_the_umask(home: Path, open_umask: None) -> None:
    keep_private()
    processes = LocalProcesses(Settings.from_environment())

    async def made() -> None:
        await processes.request("create_run", experiment="e", name="n")
        await processes.stop()

    asyncio.run(made())
    assert (home / "mlflow.db").is_file()
    assert of_others(home) == {}


def test_folder_that_is_no_state_keeps_its_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("data", "src"):  # a project, to which TANDEM_HOME points by mistake
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    tmp_path.chmod(0o755)
    monkeypatch.setenv("TANDEM_HOME", str(tmp_path))
    before = os.umask(0o022)
    try:
        keep_private()
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (tmp_path, tmp_path / "data", tmp_path / "src")] == [0o755] * 3
