"""What names an asset, in each of the ways that Azure ML has for it."""

import pytest

from flows.spec.model.asset_reference import AssetReference

REGISTRY = "azureml://registries/azureml/components/fit"
WORKSPACE = "azureml:/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"


@pytest.mark.parametrize(
    ("text", "asset"),
    [
        ("fit", AssetReference("fit")),
        ("azureml:fit", AssetReference("fit")),
        ("fit:1", AssetReference("fit", "1")),
        ("azureml:fit-2.x:1.10", AssetReference("fit-2.x", "1.10")),
        ("azureml:fit@latest", AssetReference("fit", label="latest")),
        ("azureml:azureml:fit:1", AssetReference("fit", "1")),
    ],
)
def test_a_short_reference_is_read_with_and_without_its_prefix(text: str, asset: AssetReference) -> None:
    assert AssetReference.short(text) == AssetReference.read(text) == asset


@pytest.mark.parametrize(
    ("text", "asset"),
    [
        (REGISTRY, AssetReference("fit")),
        (f"{REGISTRY}/versions/1", AssetReference("fit", "1")),
        (f"{REGISTRY}/labels/latest", AssetReference("fit", label="latest")),
        (f"{WORKSPACE}/data/rows/versions/3", AssetReference("rows", "3")),
        (f"azureml:{REGISTRY}/versions/1", AssetReference("fit", "1")),
        ("azureml://locations/l/workspaces/w/models/m/versions/2", AssetReference("m", "2")),
    ],
)
def test_an_address_is_read_but_is_no_short_reference(text: str, asset: AssetReference) -> None:
    assert AssetReference.read(text) == asset
    assert AssetReference.short(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "azureml:",
        "fit:",
        "fit@",
        "fit:1@latest",
        "a b",
        "./fit.yml",
        "https://x.org/data/rows/versions/1",
        "azureml://datastores/store/paths/data/rows",
        "azureml://jobs/j/outputs/model",
    ],
)
def test_what_names_no_asset_is_none(text: str) -> None:
    assert AssetReference.read(text) is None


def test_a_reference_is_written_as_it_was_read_and_goes_by_shorter_names() -> None:
    assert [str(AssetReference.read(text)) for text in ("a", "azureml:a:1", "a@latest")] == ["a", "a:1", "a@latest"]
    assert list(AssetReference("a", "1").names()) == ["azureml:a:1", "a:1", "azureml:a", "a"]
    assert list(AssetReference("a").names()) == ["azureml:a", "a"]
