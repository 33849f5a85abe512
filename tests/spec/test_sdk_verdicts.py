"""Our verdict on thousands of varied files against that of the azure-ai-ml client, which loads and checks each.

What is not decided alike has a reason with a name, below.
"""

# The client has no types worth the name; whether it takes a file is all that is asked of it.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportPrivateUsage=false

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from flows.errors import SpecError
from flows.spec.reading.assets import read_data_asset, read_environment
from flows.spec.reading.reader import examine
from flows.spec.rules.lint import needed_by_azure_ml
from tests.spec.varied_files import KINDS, VariedFile, varied_files, write_beside

pytestmark = pytest.mark.filterwarnings("ignore")

SAMPLE = 80
SEED = 1

# What we refuse and the client takes: why, and what our fault says.
REFUSED_HERE: Mapping[str, str] = {
    "the service refuses what is bound to or names nothing": (
        r"which is not declared|has no (input|output|step|command) |which is not searched|does not name one of"
    ),
    "the service refuses a value that does not fit": (
        r"for the \w+ input|is (below|above) the (minimum|maximum)|data is given to|is given to the"
    ),
    "the service refuses a number that is out of range": r"Make it -?\d+ or more|is above max_value",
    "the service refuses a pipeline, a choice or an environment of nothing, or of both": (
        r"the pipeline has no steps|there is nothing to choose from|has no values"
        r"|has both image and build|has neither image nor build"
    ),
    "the service refuses data without a path": r"the data input has no path",
    "what is built or run fails without the file": r"(dockerfile_path|entry_script): there is no file",
    "a version is text or a number": r"version is (a list|a mapping|true or false)",
    "what the service shows is never empty": r"is empty\s+Leave it out\.",
    "no process can have such a variable": r"the variable \S+ is (a list|a mapping)|environment_variables is ",
    "a parallel step cannot run without it": r"there is no (input_data|entry_script|task)",
    "a conda file is a file, or a mapping": r"conda_file is ",
    "no output of a job is meant by such a text": r"is not an output of the job",
    "a name becomes that of a file, a folder or a parameter": (
        r"leads to another folder|cannot be the name of|cannot be a version of|cannot be called"
    ),
    "a key that is nearly a known one is meant as that, and is ignored": r"cannot have the key \S+\s+Did you mean",
    "the client cuts off the fraction of a number, without a word": r"is a number\s+Make it a whole number",
}
# What the client refuses and we take: why, and the name of the file.
REFUSED_THERE: Mapping[str, str] = {
    "the client fails on this key in every pipeline, with an error of its own (KeyError: 'base_path')": (
        r"^(step|pipeline).*path_on_compute = 'file:"
    ),
    "the client cannot write down its own component (… is not JSON serializable)": (
        r"component: \.: (auto_delete_setting = \{'condition'|queue_settings = \{'job_tier')"
    ),
    "an id of a component that the service shows is never so short": r"component: \.: id = 'azureml:x'",
}

Verdict = Callable[[VariedFile, Path], str]


@pytest.fixture(scope="module")
def client() -> Verdict:
    """What the client says against a file, as ``create_or_update`` comes to it; empty where it would submit it."""
    from azure.ai.ml._utils.utils import load_yaml
    from azure.ai.ml.entities import Component, Data, Environment, Job, _load_functions

    classes: Any = {
        "load_job": Job,
        "load_component": Component,
        "load_environment": Environment,
        "load_data": Data,
    }

    def verdict(file: VariedFile, path: Path) -> str:
        try:
            data = load_yaml(path)
            found, _ = classes[file.loader]._resolve_cls_and_type(data=data, params_override=[])
            # load_job and the like do this, and put an error into words at ten times the cost.
            entity: Any = _load_functions._load_common_raising_marshmallow_error(found, data, str(path), [])
            if file.loader == "load_environment":
                entity.validate()
            elif hasattr(entity, "_validate"):
                checked = entity._validate()
                if not checked.passed:
                    return str(checked.error_messages)
            entity = entity._to_job() if type(entity).__name__ == "Command" else entity
            entity._to_rest_object()
        except Exception as error:  # which it raises is of no matter
            return f"{type(error).__name__}: {error}"
        return ""

    return verdict


def ours(file: VariedFile, path: Path) -> str:
    """What Tandem says against a file that is to go to Azure ML; empty where it takes it."""
    try:
        if file.loader == "load_environment":
            return "" if read_environment(path) is not None else "this is no environment"
        if file.loader == "load_data":
            read_data_asset(path)
            return ""
    except SpecError as error:
        return str(error)
    found = examine(path)
    needed = () if found.spec is None else needed_by_azure_ml(found.spec)
    return "\n".join(map(str, [*found.faults, *needed]))


def unlike(files: Sequence[VariedFile], client: Verdict, folder: Path) -> Iterator[str]:
    """The files that the client and we do not decide alike, for none of the reasons."""
    write_beside(folder)
    for file in files:
        path = file.write(folder)
        told, said = ours(file, path), client(file, path)
        if told and not said and not _explained(REFUSED_HERE, told):
            yield f"we refuse {file.name}: {told}"
        if said and not told and not _explained(REFUSED_THERE, file.name):
            yield f"we take {file.name}: {said}"


def _explained(reasons: Mapping[str, str], text: str) -> bool:
    return any(re.search(reason, text) for reason in reasons.values())


def test_a_varied_file_is_taken_or_refused_as_by_the_client(
    client: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sample = Random(SEED).sample(list(varied_files()), SAMPLE)
    assert list(unlike(sample, client, tmp_path)) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_varied_file_is_taken_or_refused_as_by_the_client(
    client: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    files = [file for file in varied_files() if file.kind == kind]
    write_beside(tmp_path)
    assert files[0].change == "as it is"
    assert client(files[0], files[0].write(tmp_path)) == ""
    assert list(unlike(files, client, tmp_path)) == []
