"""What is given on this machine for data and components that are elsewhere."""

from pathlib import Path

import pytest

from flows.data.given import GivenAssets, given_assets, names_of
from flows.errors import ParameterError

SHORT = "azureml://datastores/store/paths/a/rows.csv"
LONG = "azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/store/paths/a/rows.csv"
REGISTRY = "azureml://registries/azureml/data/titanic/versions/3"


@pytest.mark.parametrize(
    ("reference", "names"),
    [
        ("azureml:titanic:3", ["azureml:titanic:3", "titanic:3", "azureml:titanic", "titanic"]),
        ("azureml:titanic@latest", ["azureml:titanic@latest", "titanic@latest", "azureml:titanic", "titanic"]),
        (REGISTRY, [REGISTRY, "azureml:titanic:3", "titanic:3", "azureml:titanic", "titanic"]),
        (LONG, [LONG, SHORT]),
        (SHORT, [SHORT]),
        ("https://x.org/a.csv?sig=key", ["https://x.org/a.csv?sig=key", "https://x.org/a.csv"]),
    ],
)
def test_reference_goes_by_its_short_names_too(reference: str, names: list[str]) -> None:
    assert list(names_of(reference)) == names


def test_longest_prefix_that_ends_in_a_slash_stands_for_what_is_below_it() -> None:
    given = GivenAssets(
        {"azureml://datastores/store/paths/": Path("/all"), "azureml://datastores/store/paths/a/": Path("/a")}
    )
    assert given.path(SHORT) == given.path(LONG) == Path("/a/rows.csv")
    assert given.path("azureml://datastores/store/paths/b/c.csv") == Path("/all/b/c.csv")
    assert given.path("azureml://datastores/other/paths/b/c.csv") is None


@pytest.mark.parametrize("given", ["azureml://datastores/store/paths/dogs", "azureml://datastores/store/paths/dogs/"])
@pytest.mark.parametrize("end", ["", "/", "/*", "/**"])
def test_folder_goes_by_its_name_with_and_without_a_slash(given: str, end: str) -> None:
    reference = f"azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/store/paths/dogs{end}"
    assert GivenAssets({given: Path("/dogs")}).path(reference) == Path("/dogs")
    assert GivenAssets({"azureml://datastores/store/paths/": Path("/all")}).path(reference) == Path("/all/dogs")
    assert GivenAssets({given: Path("/dogs")}).path("azureml://datastores/store/paths/dogsled") is None


def test_flag_wins_over_the_file_here_which_wins_over_the_one_beside_the_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("there", "here"):
        (tmp_path / name).mkdir()
        for data in ("a.csv", "b.csv", "c.csv"):
            (tmp_path / name / data).write_text(name)
    (tmp_path / "there" / "tandem.assets.yml").write_text("a: a.csv\nb: b.csv\nc: ./c.csv\n")
    (tmp_path / "here" / "tandem.assets.yml").write_text("a: a.csv\nb: b.csv\n")
    monkeypatch.chdir(tmp_path / "here")
    given = given_assets(["a=c.csv"], Path("../there/job.yml"))
    assert given.paths == {
        "a": tmp_path / "here" / "c.csv",
        "b": tmp_path / "here" / "b.csv",
        "c": tmp_path / "there" / "c.csv",
    }


def test_everything_wrong_is_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tandem.assets.yml").write_text("a: gone.csv\nb: 3\n")
    with pytest.raises(ParameterError) as raised:
        given_assets(["nonsense", "x=gone"], tmp_path / "job.yml")
    assert str(raised.value).splitlines() == [
        f"{tmp_path}/tandem.assets.yml: a: there is no {tmp_path}/gone.csv.",
        f"{tmp_path}/tandem.assets.yml: b: write the path of a file or folder, relative to this file.",
        "--asset nonsense: write --asset NAME_OR_URI=PATH, such as --asset azureml:titanic:1=titanic.csv.",
        f"--asset x=gone: there is no {tmp_path}/gone.",
    ]


@pytest.mark.parametrize(
    "text", ["- a\n- b\n", "a: [\n", "\0", "just words", "[" * 100_000, "a" * 5_000_000, "a: 2026-13-45"]
)
def test_assets_file_that_is_no_mapping_is_an_error_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tandem.assets.yml").write_text(text)
    with pytest.raises(ParameterError, match=r"tandem\.assets\.yml: "):
        given_assets([], tmp_path / "job.yml")
