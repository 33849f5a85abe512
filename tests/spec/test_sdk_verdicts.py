"""Our verdict on thousands of varied files against that of the azure-ai-ml client, which loads and checks each.

What is not decided alike has a reason with a name: in ``sdk_client.REFUSED_HERE``, or below.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

import pytest

from tests.spec.sdk_client import REFUSED_HERE, reason_among, refused_here, refused_there
from tests.spec.varied_files import KINDS, VariedFile, varied_files, write_beside

pytestmark = pytest.mark.filterwarnings("ignore")

SAMPLE = 80
SEED = 1

# What the client refuses and we take: why, and the name of the file.
REFUSED_THERE: Mapping[str, str] = {
    "the client fails on the documented form: KeyError: 'base_path', or no file has a name that begins with 'file:'": (
        r"path_on_compute = 'file:"
    ),
    "the client cannot write down its own component (… is not JSON serializable)": (
        r"component: \.: (auto_delete_setting = \{'condition'|queue_settings = \{'job_tier')"
    ),
    "an id of a component that the service shows is never so short": r"component: \.: id = 'azureml:x'",
}


def unlike(files: Sequence[VariedFile], folder: Path) -> Iterator[str]:
    """The files that the client and we do not decide alike, for none of the reasons."""
    write_beside(folder)
    for file in files:
        path = file.write(folder)
        told, said = refused_here(file.loader, path), refused_there(file.loader, path)
        if told and not said and reason_among(REFUSED_HERE, told) is None:
            yield f"we refuse {file.name}: {told}"
        if said and not told and reason_among(REFUSED_THERE, file.name) is None:
            yield f"we take {file.name}: {said}"


def test_a_varied_file_is_taken_or_refused_as_by_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sample = Random(SEED).sample(list(varied_files()), SAMPLE)
    assert list(unlike(sample, tmp_path)) == []


# One file of each kind of difference that there was.
ONCE_UNLIKE = frozenset(
    {
        "command component: .: type = None",
        "command component: .: no name",
        "command component: inputs.solver: default = 3",
        "parallel component: .: component = './fit.yml'",
        "pipeline component: .: component = None",
        "pipeline component: .: name = './gone'",
        "pipeline component: .: intellectual_property = {'publisher': 'p', 'protection_level': 'all'}",
        "parallel step in place: jobs.a: parameters = {'a': 1}",
        "parallel step in place: jobs.a.inputs: rows = 1.5",
        "sweep step: jobs.a: no search_space",
        "sweep step: jobs.a.early_termination: evaluation_interval = None",
        "sweep step: jobs.a.inputs.rows: path_on_compute = 'file:./data'",
    }
)


def test_a_file_that_was_decided_otherwise_is_taken_or_refused_as_by_the_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = [file for file in varied_files() if file.name in ONCE_UNLIKE]
    assert {file.name for file in files} == ONCE_UNLIKE
    assert list(unlike(files, tmp_path)) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_varied_file_is_taken_or_refused_as_by_the_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    files = [file for file in varied_files() if file.kind == kind]
    write_beside(tmp_path)
    assert files[0].change == "as it is"
    assert refused_there(files[0].loader, files[0].write(tmp_path)) == ""
    assert list(unlike(files, tmp_path)) == []
