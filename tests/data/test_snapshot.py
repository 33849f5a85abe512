"""The code of a step is what the SDK would upload."""

import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.data.digests import data_digest
from flows.data.snapshot import Snapshot
from tests.conftest import Write

FILES = {
    name: name
    for name in (
        "main.py",
        "notes.txt",
        "keep.log",
        "drop.log",
        "data/rows.csv",
        "data/keep.csv",
        "data/deep/rows.csv",
        "sub/main.py",
        "sub/drop.log",
        "__pycache__/main.cpython-311.pyc",
        "sub/__pycache__/main.cpython-311.pyc",
        ".hidden/file",
        "ż ó.txt",
    )
}
IGNORES = {
    "files": "*.log\n",
    "negation": "*.log\n!keep.log\n",
    "negation_first": "!keep.log\n*.log\n",
    "folder": "data/\n",
    "folder_without_slash": "data\n",
    "file_kept_in_an_ignored_folder": "data/\n!data/keep.csv\n",
    "files_of_a_folder": "data/*\n!data/keep.csv\n",
    "top_only": "/main.py\n",
    "anywhere": "**/main.py\n",
    "everything_but": "*\n!main.py\n!data/**\n",
    "comments_and_blanks": "# *.py\n\n   \n*.txt   \n\\#x\n",
    "hidden": ".hidden\n.amlignore\n",
    "byte_code_wanted": "!__pycache__\n",
    "nothing": "",
}
RULES = ["*", "*.log", "data", "data/", "/data", "data/*", "data/**", "**/deep", "sub/**/", "!keep.log"]


def names(code: Path, includes: tuple[Path, ...] = ()) -> list[str]:
    return [name for name, _ in Snapshot.of(code, includes).files]


def names_of_the_sdk(code: Path, includes: Sequence[Path] = ()) -> list[str]:
    """What the client would upload for a component with this code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from azure.ai.ml._utils._asset_utils import get_upload_files_from_folder
        from azure.ai.ml.entities._component._additional_includes import AdditionalIncludes
        from azure.ai.ml.entities._component.code import ComponentIgnoreFile

        if not includes:
            uploads = get_upload_files_from_folder(code, ignore_file=ComponentIgnoreFile(code))
            return sorted(target for _, target in uploads)
        configs: list[str | dict[str, str]] = [str(include) for include in includes]
        merged = AdditionalIncludes(origin_code_value=str(code), base_path=code.parent, configs=configs)
        with merged.merge_local_code_and_additional_includes() as whole:
            uploads = get_upload_files_from_folder(whole, ignore_file=ComponentIgnoreFile(whole))
            return sorted(target for _, target in uploads)


@pytest.mark.parametrize("name", IGNORES)
@pytest.mark.parametrize("ignore_file", [".amlignore", ".gitignore"])
def test_the_files_are_those_that_the_sdk_would_upload(ignore_file: str, name: str, write: Write) -> None:
    code = write({f"code/{path}": text for path, text in {**FILES, ignore_file: IGNORES[name]}.items()}) / "code"

    assert names(code) == names_of_the_sdk(code)


@settings(max_examples=40, deadline=None)
@given(rules=st.lists(st.sampled_from(RULES), min_size=1, max_size=4))
def test_a_folder_that_is_passed_over_has_nothing_that_the_sdk_would_upload(
    rules: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    code = tmp_path_factory.mktemp("code")
    for name in (*FILES, "sub/data/deep/keep.log", "data/sub/keep.log"):
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        (code / name).touch()
    (code / ".amlignore").write_text("\n".join(rules))

    assert names(code) == names_of_the_sdk(code)


def test_a_link_to_nothing_is_left_out(write: Write) -> None:
    code = write({"main.py": ""})
    (code / ".#main.py").symlink_to("someone@somewhere.1234")

    assert names(code) == ["main.py"]


def test_amlignore_is_used_instead_of_gitignore(write: Write) -> None:
    code = write({**FILES, ".amlignore": "*.log", ".gitignore": "*.py"})

    found = names(code)

    assert "main.py" in found
    assert "keep.log" not in found
    assert found == names_of_the_sdk(code)


def test_an_ignore_file_further_down_does_not_count(write: Write) -> None:
    code = write({"code/main.py": "", "code/sub/rows.csv": "", "code/sub/.amlignore": "*.csv"}) / "code"

    assert names(code) == names_of_the_sdk(code) == ["main.py", "sub/.amlignore", "sub/rows.csv"]


def test_byte_code_is_left_out(write: Write) -> None:
    assert not [name for name in names(write(FILES)) if "__pycache__" in name]


def test_additional_includes_land_at_the_top(write: Write) -> None:
    folder = write(
        {
            "code/main.py": "",
            "code/drop.log": "",
            "code/.amlignore": "*.log",
            "shared/one.py": "",
            "shared/drop.log": "",
            "shared/drop.tmp": "",
            "shared/.amlignore": "*.tmp",
            "shared/deep/two.py": "",
            "shared/__pycache__/one.pyc": "",
            "elsewhere/three.py": "",
        }
    )
    code, includes = folder / "code", (folder / "shared", folder / "elsewhere" / "three.py")

    found = names(code, includes)

    assert found == [".amlignore", "main.py", "shared/.amlignore", "shared/deep/two.py", "shared/one.py", "three.py"]
    assert found == names_of_the_sdk(code, includes)


def test_a_single_file_is_a_snapshot_of_one(write: Write) -> None:
    assert names(write({"main.py": "", "other.py": ""}) / "main.py") == ["main.py"]


def test_the_digest_is_that_of_names_and_contents_only(write: Write) -> None:
    folder = write({f"{place}/{name}": text for place in ("one", "two/deep") for name, text in FILES.items()})
    os.utime(folder / "one" / "main.py", (0, 0))
    (folder / "one" / "main.py").chmod(0o755)

    assert Snapshot.of(folder / "one").digest() == Snapshot.of(folder / "two" / "deep").digest()
    assert data_digest(folder / "one") == data_digest(folder / "two" / "deep")


@pytest.mark.parametrize("change", ["content", "name", "added", "removed", "moved"])
def test_the_digest_tells_every_change(change: str, write: Write) -> None:
    code = write({"main.py": "1", "sub/near.py": "2"})
    before = Snapshot.of(code).digest(), data_digest(code)

    match change:
        case "content":
            write({"main.py": "2"})
        case "name":
            (code / "main.py").rename(code / "main2.py")
        case "added":
            write({"empty.py": ""})
        case "removed":
            (code / "sub" / "near.py").unlink()
        case _:
            (code / "sub" / "near.py").rename(code / "near.py")

    after = Snapshot.of(code).digest(), data_digest(code)
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_a_copy_has_the_same_files_and_none_that_is_ignored(write: Write, tmp_path: Path) -> None:
    code = write({f"code/{name}": text for name, text in {**FILES, ".amlignore": "*.log\n"}.items()}) / "code"
    snapshot = Snapshot.of(code)

    snapshot.copy_to(tmp_path / "copy")
    shutil.rmtree(code)

    assert Snapshot.of(tmp_path / "copy").files == tuple((name, tmp_path / "copy" / name) for name, _ in snapshot.files)
