"""Which data a name or a path means."""

from pathlib import Path

import pytest

from flows.data.assets import resolve_data
from flows.errors import DataAssetError


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    """An asset in the versions 1, 2 and 10."""
    for version in ("1", "2", "10"):
        folder = tmp_path / "cells" / version
        folder.mkdir(parents=True)
        (folder / "cells.csv").write_text("a\n1\n")
        (folder / "data.yml").write_text(f'type: uri_file\nname: cells\nversion: "{version}"\npath: cells.csv\n')
    return tmp_path


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("cells", "10"),
        ("cells@latest", "10"),
        ("cells:2", "2"),
        ("azureml:cells:1", "1"),
        ("azureml:cells@latest", "10"),
    ],
)
def test_name_means_the_newest_version_by_number_unless_it_says_one(assets: Path, text: str, version: str) -> None:
    found = resolve_data(text, (assets,))
    assert (found.label, found.version) == (f"cells:{version}", version)
    assert found.path == assets / "cells" / version / "cells.csv"


def test_path_means_the_file_itself(assets: Path) -> None:
    path = assets / "cells" / "1" / "cells.csv"
    found = resolve_data(str(path), (assets,))
    assert (found.name, found.path, found.type) == (None, path, "uri_file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cell", "no data asset 'cell' in .* Did you mean cells\\? It has: cells"),
        ("cells:3", "has no version 3\\. It has: 1, 2, 10; write cells@latest"),
        ("cells@newest", "the only label of a data asset is @latest"),
        ("./none.parquet", "The data file ./none.parquet does not exist"),
        ("a b", "neither the name of a data asset nor a path"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(assets: Path, text: str, message: str) -> None:
    with pytest.raises(DataAssetError, match=message):
        resolve_data(text, (assets,))


def test_a_path_is_told_once_and_whole_where_another_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.csv").touch()
    for name, wrong in (("gone.csv", "does not exist"), ("empty.csv", "is empty")):
        for typed, told in ((f"{tmp_path}/{name}", ""), (f"./{name}", f": {tmp_path}/{name}")):
            with pytest.raises(DataAssetError) as refused:
                resolve_data(typed, (tmp_path,))
            assert str(refused.value) == f"The data file {typed} {wrong}{told}."


def test_asset_whose_file_is_gone_is_named(assets: Path) -> None:
    (assets / "cells" / "10" / "cells.csv").unlink()
    with pytest.raises(DataAssetError, match=r"The file of the data asset cells:10 does not exist"):
        resolve_data("cells", (assets,))
