"""``python`` and ``pip`` in the commands of steps: whose they are, and that nothing is installed into that."""

import sys
import zipfile
from pathlib import Path
from textwrap import dedent

import pytest

from flows.engines.local.step_python import command_folders, installs_packages
from tests.conftest import Write
from tests.engines.jobs import JobRunner, job

WHEEL = "tandem_probe-{version}-py3-none-any.whl"


def wheel(folder: Path, version: str) -> Path:
    """A package of one module."""
    path = folder / WHEEL.format(version=version)
    info = f"tandem_probe-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tandem_probe.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tandem-probe\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.mark.parametrize(
    "command",
    [
        "pip install -r requirements.txt && python x.py",
        "python -m pip install six",
        "pip3 --quiet install --user six; python x.py",
        "echo one\nuv pip install six",
        "conda env update -f conda.yml",
        "python setup.py install",
    ],
)
def test_command_that_installs_is_recognised(tmp_path: Path, command: str) -> None:
    assert installs_packages(command, tmp_path)


@pytest.mark.parametrize("command", ["python x.py --install pipes", "pip list && echo install", "cat pip.txt"])
def test_command_that_installs_nothing_is_left_alone(tmp_path: Path, command: str) -> None:
    assert not installs_packages(command, tmp_path)


def test_script_that_installs_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "x.py").write_text('subprocess.check_call([sys.executable, "-m", "pip", "install", "six"])')
    assert installs_packages("python inner/x.py", tmp_path)


def test_packages_are_installed_for_one_step_only_beside_those_that_are_there(
    local_jobs: JobRunner, write: Write
) -> None:
    script = """\
        import sys, yaml, tandem_probe
        print(tandem_probe.VERSION, sys.prefix == sys.argv[1], yaml.__name__)
        """
    folder = write(
        {
            "code/x.py": script,
            "job.yml": job(
                "pip install --user --no-index --quiet ./*.whl && python x.py $VIRTUAL_ENV && which pip",
                code="./code",
            ),
            "after.yml": job("python -c 'import tandem_probe'"),
        }
    )
    wheel(folder / "code", "1.0")
    before = sorted(Path(sys.prefix, "lib").glob("python*/site-packages/*"))
    ran = local_jobs.run()
    step = ran.outcome.steps[0]
    assert step.log is not None
    lines = step.log.read_text().splitlines()
    assert "1.0 True yaml" in lines
    assert not (step.log.parents[1] / "venv").exists()
    assert sorted(Path(sys.prefix, "lib").glob("python*/site-packages/*")) == before
    assert local_jobs.run(local_jobs.request("after.yml")).statuses() == {"after": "Failed"}


def test_conda_is_refused_with_what_to_do_instead(local_jobs: JobRunner, write: Write) -> None:
    write({"job.yml": job("conda install -y numpy")})
    message = local_jobs.run().outcome.steps[0].message
    assert "conda is not run here: it would change an environment of this machine." in message


def test_commands_of_another_interpreter_are_its_own(tmp_path: Path) -> None:
    python = tmp_path / "my bin" / "python3.9"
    first, second = command_folders(python, tmp_path / "home")
    assert second == python.parent
    for name in ("python", "python3"):
        assert (first / name).read_text() == f"#!/bin/sh\nexec '{python}' \"$@\"\n"
    for name in ("pip", "pip3"):
        assert (first / name).read_text() == f"#!/bin/sh\nexec '{python}' -m pip \"$@\"\n"


@pytest.mark.parametrize("how", ["python look.py {folder}", "true && python look.py {folder}"])
def test_folders_are_listed_by_name(local_jobs: JobRunner, write: Write, how: str) -> None:
    script = """\
        import glob, os, pathlib, shutil, sys, tempfile
        folder, made = sys.argv[1], tempfile.mkdtemp()
        found = os.listdir(folder)
        assert found == sorted(found) and len(found) == 60
        assert [path.name for path in pathlib.Path(folder).iterdir()] == found
        assert [os.path.basename(path) for path in glob.glob(folder + "/*")] == found
        assert [names for _, _, names in os.walk(folder)] == [found]
        with os.scandir(folder) as entries:
            assert next(entries).name == found[0]
        open(os.path.join(made, "file"), "w").close()
        shutil.rmtree(made)
        assert not os.path.exists(made)
        """
    files = {f"rows/{number * 7919 % 1000}.csv": "" for number in range(60)}
    text = job(
        how.format(folder="${{inputs.rows}}"), code="./code", inputs={"rows": {"type": "uri_folder", "path": "./rows"}}
    )
    write({**files, "code/look.py": dedent(script), "job.yml": text})
    assert local_jobs.run().statuses() == {"job": "Completed"}
