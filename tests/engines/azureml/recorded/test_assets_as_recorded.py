"""Assets and models as the real service answers them: versions, addresses, and text in place of values."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.errors import DataAssetError
from tests.azure_ml_service.messages import Answer
from tests.engines.azureml.recorded.answers import (
    command_job,
    component_version,
    compute,
    container,
    nothing,
    pipeline_job,
    refusal,
    run_id,
    told,
    version,
)
from tests.engines.azureml.recorded.conftest import InWorkspace
from tests.engines.azureml.recorded.player import Player

pytestmark = pytest.mark.filterwarnings("ignore")  # of the SDK, which has many

CONDA = {"name": "lab", "channels": ["conda-forge"], "dependencies": ["python=3.11", {"pip": ["numpy"]}]}


def data(player: Player, name: str, number: str, uri: str, **tags: str) -> Any:
    properties = {"dataType": "uri_file", "dataUri": uri, "tags": tags}
    return version(player.workspace, "data", name, number, properties)


def test_data_whose_only_version_is_a_word_gets_the_number_that_the_service_says_is_next(
    player: Player, in_workspace: InWorkspace, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("1,2\n")
    player.play("GET", "/data/rows", told(container(player.workspace, "data", "rows", "foo", "1")))
    player.play("GET", "/data/rows/versions/foo", told(data(player, "rows", "foo", "azureml://x")))
    made = data(player, "rows", "1", "azureml://x", **{"tandem.sha256": "abc"})
    player.play("PUT", "/data/rows/versions/1", told(made, 201))

    registered, created = in_workspace(lambda workspace: workspace.assets.register_data(rows, "rows", "abc"))

    assert (registered.version, created) == ("1", True)
    assert player.count("PUT", "/data/rows/versions/1") == 1


def test_address_of_data_that_comes_back_long_is_downloaded_as_the_short_one(
    player: Player, in_workspace: InWorkspace, tmp_path: Path
) -> None:
    file = player.blobs.datastore_path("workspaceblobstore", "LocalUpload/abc/rows.csv")
    file.parent.mkdir(parents=True)
    file.write_text("1,2\n")
    uri = player.workspace.datastore_uri("workspaceblobstore", "LocalUpload/abc/rows.csv")
    player.play("GET", "/data/rows/versions/1", told(data(player, "rows", "1", uri)))

    found = in_workspace(lambda workspace: workspace.data_files.download("rows", "1", tmp_path / "here"))

    assert found.read_text() == "1,2\n"


def test_data_that_is_gone_from_its_datastore_is_told(
    player: Player, in_workspace: InWorkspace, tmp_path: Path
) -> None:
    uri = player.workspace.datastore_uri("workspaceblobstore", "LocalUpload/abc/rows.csv")
    player.play("GET", "/data/rows/versions/1", told(data(player, "rows", "1", uri)))
    with pytest.raises(DataAssetError, match="gone from its datastore"):
        in_workspace(lambda workspace: workspace.data_files.download("rows", "1", tmp_path / "here"))


def environment(player: Player, number: str, conda: str) -> Any:
    properties = {
        "environmentType": "UserCreated",
        "image": "ubuntu:22.04",
        "condaFile": conda,
        "osType": "Linux",
    }
    return version(player.workspace, "environments", "lab", number, properties)


@pytest.mark.parametrize("conda", [json.dumps(CONDA, indent=2), ""], ids=["as JSON text", "none was sent"])
def test_environment_whose_conda_file_comes_back_as_json_is_the_one_that_was_made(
    conda: str, player: Player, in_workspace: InWorkspace, tmp_path: Path
) -> None:
    """A second PUT would be answered with 201 as the first was, and is not sent."""
    (tmp_path / "environment.yml").write_text("name: lab\nimage: ubuntu:22.04\n")
    absent = refusal(404, "No environment exists for name: lab, version: 7, label: ", "UserError", "NotFoundError")
    made = environment(player, "7", conda)
    player.play("GET", "/environments/lab/versions/7", absent, told(made))
    player.play("PUT", "/environments/lab/versions/7", told(made, 201))

    for _ in range(2):
        in_workspace(lambda workspace: workspace.assets.ensure_environment(tmp_path / "environment.yml", "lab", "7"))

    assert player.count("PUT", "/environments/lab/versions/7") == 1


def listed(player: Player, *versions: Any) -> Answer:
    """A page of one, which says that there are more whether there are or not."""
    more = f"https://management.azure.com{player.workspace.path}/more?$skipToken=abc"
    return told({"value": list(versions), "nextLink": more})


def test_newest_of_what_has_timestamps_as_versions_is_asked_for_once_whatever_next_link_there_is(
    player: Player, in_workspace: InWorkspace, tmp_path: Path
) -> None:
    """A job in YAML with an environment and a component ``@latest``: components never tell which is the latest."""
    from flows.spec.bind import bind
    from flows.spec.reading.reader import read_job

    stamp = "2026-03-01-10-00-00-1234567"
    nodes = {"a": {"type": "command", "component": "azureml:fit@latest"}}
    (tmp_path / "job.yml").write_text(
        json.dumps({"type": "pipeline", "settings": {"default_compute": "azureml:cpu"}, "jobs": nodes})
    )
    player.play("GET", "/components/fit", told(container(player.workspace, "components", "fit", None, stamp)))
    player.play("GET", "/components/fit/versions", listed(player, component_version(player.workspace, "fit", stamp)))
    player.play("PUT", "/jobs/lab-job", told(pipeline_job(player.workspace, "lab-job", "NotStarted"), 201))
    player.play("GET", "/computes/cpu", told(compute(player.workspace, "cpu")))
    spec = bind(read_job(tmp_path / "job.yml"), {})

    in_workspace(lambda workspace: workspace.jobs.submit(spec, "lab-job", "lab-experiment", {}, False))

    sent = player.body("/jobs/lab-job")["properties"]["jobs"]["a"]["componentId"]
    assert sent.endswith(f"/components/fit/versions/{stamp}")
    assert [one.query["$top"] for one in player.asked if one.path == "/components/fit/versions"] == ["1"]
    assert player.count("GET", "/more") == 0


def model(player: Player, number: str, **properties: Any) -> Any:
    uri = player.workspace.datastore_uri("workspaceblobstore", "paths/ServiceReplicated/guid/model/")
    common = {"flavors": {}, "modelType": "mlflow_model", "modelUri": uri.replace("resourcegroups", "resourceGroups")}
    return version(player.workspace, "models", "predict", number, {**common, **properties})


def test_model_is_registered_from_the_output_of_a_pipeline_whose_address_nobody_tells(
    player: Player, in_workspace: InWorkspace
) -> None:
    """The address of the model is sent as that of the job's output, and comes back as another one."""
    player.play("GET", "/models/predict/versions", nothing(404))
    player.play("GET", "/models/predict", nothing(404))
    player.play("PUT", "/models/predict/versions/1", told(model(player, "1", tags={"by": "us"}), 201))

    source = "azureml://jobs/lab-job/outputs/model"
    made = in_workspace(lambda workspace: workspace.models.create("predict", 1, source, {"by": "us"}))

    assert player.body("/models/predict/versions/1")["properties"]["modelUri"] == source
    assert (made.name, made.version, dict(made.tags)) == ("predict", 1, {"by": "us"})


def test_versions_of_a_model_are_read_over_all_pages_and_those_that_are_words_passed_over(
    player: Player, in_workspace: InWorkspace
) -> None:
    listing = f"https://management.azure.com{player.workspace.path}/models/predict/more?$skipToken=abc"
    first = {"value": [model(player, "10"), model(player, "foo")], "nextLink": listing}
    player.play("GET", "/models/predict/versions", told(first))
    player.play("GET", "/models/predict/more", told({"value": [model(player, "9")]}))

    found = in_workspace(lambda workspace: workspace.models.versions("predict"))

    assert [one.version for one in found] == [9, 10]


def test_jobs_that_carry_a_tag_are_listed_whatever_their_nodes_are(player: Player, in_workspace: InWorkspace) -> None:
    """What nobody waits for must be found: a job that the SDK cannot read would be left out of its list."""
    place, tags = player.workspace, {"tandem.flow_run": "abc"}
    nodes = {
        "fit": {"name": "fit", "type": "command", "componentId": f"{place.path}/components/fit/versions/{run_id('x')}"},
        "choice": {
            "type": "if_else",
            "condition": "${{parent.jobs.fit.outputs.ok}}",
            "true_block": "${{parent.jobs.fit}}",
        },
        "tomorrow": {"type": "a_node_of_tomorrow", "componentId": f"{place.path}/components/x/versions/1"},
    }
    jobs = [
        command_job(place, "one", "Running", tags=tags),
        pipeline_job(place, "two", "Preparing", tags=tags, jobs=nodes),
        pipeline_job(place, "three", "NotStarted", tags=tags, settings=None, computeId=None),
    ]
    player.play("GET", "/jobs", told({"value": jobs}))

    found = in_workspace(lambda workspace: workspace.jobs.tagged("tandem.flow_run"))

    assert [(one.name, one.status) for one in found] == [
        ("one", "Running"),
        ("two", "Preparing"),
        ("three", "NotStarted"),
    ]
    assert found[0].created is not None
