"""The report over a folder of YAML files: each is judged by Tandem and by the client, and nothing ends it."""

from pathlib import Path

import pytest

from tests.spec.corpus import loader_of, main, verdicts_of

pytestmark = pytest.mark.filterwarnings("ignore")

COMMAND = "command: echo\nenvironment: azureml:e:1\n"
FILES = {
    "job.yml": COMMAND,
    "component.yml": "type: command\nname: c\nversion: '1'\n" + COMMAND,
    "environment.yml": "name: e\nimage: ubuntu\n",
    "data.yaml": "name: d\ntype: uri_folder\npath: azureml://datastores/d/paths/p\n",
    "conda.yml": "name: c\ndependencies: [python=3.11]\n",
    "wrong.yml": "command: echo\n",
    "broken.yml": "a: [\n",
    "empty.yml": "",
}


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text(FILES[name])


def test_a_file_is_read_with_the_loader_of_its_kind(tmp_path: Path) -> None:
    write(tmp_path, *FILES)
    assert {name: loader_of(tmp_path / name) for name in FILES} == {
        "job.yml": "load_job",
        "component.yml": "load_component",
        "environment.yml": "load_environment",
        "data.yaml": "load_data",
        "conda.yml": None,
        "wrong.yml": "load_job",
        "broken.yml": "load_job",
        "empty.yml": "load_job",
    }


def test_verdicts_and_bodies_of_a_folder_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, *FILES)
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "8 files, 1 of them no job, component, data or environment.",
        "    7 verdicts are equal: 4 take, 3 refuse",
        "    0 are different for a reason:",
        "    0 are unexplained",
        "1 jobs are taken by both: 1 would be sent alike, 0 not.",
    ]


def test_a_difference_is_told_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "job.yml").write_text("command: echo ${{outputs.o}}\nenvironment: azureml:e:1\n")
    assert main([str(tmp_path), "--list"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("different   job.yml (load_job): the service refuses what is bound to or names nothing\n")


def test_an_error_of_the_reader_is_a_verdict_without_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> str:
        raise ZeroDivisionError("of the reader")

    write(tmp_path, "job.yml")
    monkeypatch.setattr("tests.spec.corpus.refused_here", fail)
    found = verdicts_of(tmp_path / "job.yml")
    assert (found.here, found.are_equal, found.reason) == (
        "Tandem's reader fails: ZeroDivisionError: of the reader",
        False,
        None,
    )
