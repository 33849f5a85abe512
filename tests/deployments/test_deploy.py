"""``make deploy`` and ``make undeploy`` on a real server: what is made, what is left alone, what is said."""

import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from deployments.ours import Done
from flows.drift.parameters import WatchParameters
from flows.errors import ParameterError, SettingsError
from flows.machine.living import has_entries
from flows.prefect_api.server import SERVED
from flows.rollout.parameters import DeployParameters
from flows.scoring.parameters import ScoreParameters
from flows.training.parameters import JobParameters, PipelineParameters, shown_fields, validated
from tests.deployments.station import Station, prefect_server, verbs
from tests.terminal import PROJECT, Terminal
from tests.waiting import until

MODELS = {
    "train-pipeline": PipelineParameters,
    "train-job": JobParameters,
    "watch-data": WatchParameters,
    "score-data": ScoreParameters,
    "deploy-model": DeployParameters,
}
ROLLOUT_ON_PROMOTION = "tandem: deploy what was promoted"
FORMS = [
    "train-pipeline/on-demand",
    "train-job/on-demand",
    "watch-data/scheduled",
    "deploy-model/on-demand",
    "score-data/scheduled",
]
WRONG = {
    "no such solver": ("solver", "liblinar"),
    "negative": ("reg_rate", -1),
    "text for a number": ("reg_rate", "much"),
    "half an iteration": ("max_iter", 1.5),
    "no such metric": ("gate_metric", "auc"),
    "no text": ("pipeline", ""),
    "less than no time": ("queue_timeout_seconds", -1),
}


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """A server on which everything is deployed."""
    with prefect_server(tmp_path_factory.mktemp("station")) as station:
        assert verbs(station.deploy()) == {"made"}
        yield station


def test_without_a_server_deploying_says_how_to_start_one_and_starts_none(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, None)
    done = Station(tmp_path, "http://127.0.0.1:1/api").run(
        sys.executable, "-m", "deployments.deploy", "deploy", environment={"PREFECT_API_URL": ""}
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: There is no Prefect server. Nothing was changed. Start one with `make ui`")
    assert not Path(terminal.environment["TANDEM_HOME"]).exists()


def test_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    station = Station(tmp_path, "http://127.0.0.1:1/api")
    done = station.run(sys.executable, "-m", "deployments.deploy", "worker")
    assert done.returncode == 3
    assert "Error: The Prefect API at http://127.0.0.1:1/api does not answer" in done.stderr


def test_worker_that_waits_for_work_keeps_the_state_from_being_deleted(station: Station) -> None:
    home = Path(station.environment["TANDEM_HOME"])
    with station.process(sys.executable, "-m", "deployments.deploy", "worker"):
        until(lambda: has_entries(home))
        done = station.run(sys.executable, "-m", "flows", "state", "clean")
        assert done.returncode == 4
        assert ": make worker\n" in done.stderr and "Nothing was deleted" in done.stderr
    done = station.run(sys.executable, "-m", "flows", "state", "clean")
    assert done.returncode == 0, done.stderr


def test_second_deploy_changes_nothing_and_says_so(station: Station) -> None:
    before = station.everything()
    served = Path(station.environment["TANDEM_HOME"]) / "prefect" / SERVED
    served.parent.mkdir(parents=True)
    served.write_text(json.dumps({"url": station.environment["PREFECT_API_URL"]}))
    done = station.run(sys.executable, "-m", "deployments.deploy", "deploy", environment={"PREFECT_API_URL": ""})
    assert done.returncode == 0, done.stderr
    assert station.everything() == before
    assert f"Nothing had to be changed: all {len(station.deploy())} are there." in done.stdout
    assert "No messages are sent" in done.stdout
    assert f"PREFECT_API_URL={station.environment['PREFECT_API_URL']} prefect deployment run" in done.stdout


def test_what_prefects_own_command_deploys_differs_in_the_schema_and_the_tags_of_automations(station: Station) -> None:
    done = station.prefect("--no-prompt", "deploy", "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    changed = {(each.kind, each.detail) for each in station.deploy() if each.verb != "there"}
    # It lets pass a parameter that there is not, and gives the automations of triggers no tag.
    assert changed == {("deployment", "parameter_openapi_schema"), ("automation", ""), ("automation", "off")}


def test_deployments_hold_no_path_of_this_machine(station: Station) -> None:
    assert str(PROJECT) not in json.dumps(station.everything())


def test_changed_deployment_is_put_right_but_what_an_operator_switched_off_or_added_stays(station: Station) -> None:
    deployment = station.deployment("train-pipeline/scheduled-retraining")
    schedule = f"/deployments/{deployment['id']}/schedules/{deployment['schedules'][0]['id']}"
    station.api.patch(f"/deployments/{deployment['id']}", json={"tags": ["mine"], "paused": True}).raise_for_status()
    station.api.patch(schedule, json={"active": False}).raise_for_status()
    theirs = {"schedule": {"cron": "0 0 * * *"}, "active": True, "slug": "theirs"}
    station.api.post(f"/deployments/{deployment['id']}/schedules", json=[theirs]).raise_for_status()
    automation = next(each for each in station.everything()["automations"] if "train on new data" in each["name"])
    station.api.patch(f"/automations/{automation['id']}", json={"enabled": False}).raise_for_status()
    changed = [each for each in station.deploy() if each.verb != "there"]
    assert changed == [Done("changed", "deployment", "train-pipeline/scheduled-retraining", "tags")]
    deployment = station.deployment("train-pipeline/scheduled-retraining")
    assert (deployment["tags"], deployment["paused"]) == (["tandem", "scheduled"], True)
    assert {each["slug"]: each["active"] for each in deployment["schedules"]} == {"nightly": False, "theirs": True}
    assert station.api.get(f"/automations/{automation['id']}").json()["enabled"] is False


def test_scoring_is_off_until_somebody_switches_it_on_and_then_stays_on(station: Station) -> None:
    def schedule() -> dict[str, Any]:
        (found,) = station.deployment("score-data/scheduled")["schedules"]
        return found

    def automation() -> dict[str, Any]:
        return next(each for each in station.everything()["automations"] if each["name"] == "tandem: score new data")

    assert (schedule()["active"], automation()["enabled"]) == (False, False)
    place = f"/deployments/{station.deployment('score-data/scheduled')['id']}/schedules/{schedule()['id']}"
    station.api.patch(place, json={"active": True}).raise_for_status()
    station.api.patch(f"/automations/{automation()['id']}", json={"enabled": True}).raise_for_status()
    assert verbs(station.deploy()) == {"there"}
    assert (schedule()["active"], automation()["enabled"]) == (True, True)


@pytest.mark.parametrize("name", FORMS)
def test_form_has_choices_ranges_defaults_and_a_description_for_every_parameter(station: Station, name: str) -> None:
    form = station.deployment(name)["parameter_openapi_schema"]
    fields = shown_fields(MODELS[name.partition("/")[0]])
    assert sorted(form["properties"], key=lambda each: form["properties"][each]["position"]) == list(fields)
    for parameter, field in fields.items():
        assert form["properties"][parameter]["description"] == field.description
        assert form["properties"][parameter]["default"] == field.default
        bounds = {"enum", "minimum", "exclusiveMinimum", "maximum", "maxLength", "anyOf"}
        assert bounds & form["properties"][parameter].keys() or field.annotation is bool, parameter


def groups_of(properties: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """The group of each parameter, and the groups in their order, of which each is in one place."""
    shown = sorted(properties.items(), key=lambda item: item[1]["position"])
    groups = {key: value["title"].partition(": ")[0] for key, value in shown}
    assert all(value["title"] == f"{groups[key]}: {key}" for key, value in shown)
    order = list(dict.fromkeys(groups.values()))
    assert [group for group, _ in itertools.groupby(groups.values())] == order
    return groups, order


@pytest.mark.parametrize("name", ["train-pipeline/on-demand", "train-job/on-demand"])
def test_form_is_in_groups_of_which_the_last_is_what_only_azure_ml_needs(station: Station, name: str) -> None:
    properties = station.deployment(name)["parameter_openapi_schema"]["properties"]
    groups, order = groups_of(properties)
    assert order[0] == "Training" and order[-1] == "Azure ML only"
    last = {key for key, group in groups.items() if group == order[-1]}
    assert {"compute_name", "queue_timeout_seconds", "run_timeout_seconds"} <= last


def test_form_of_a_rollout_is_in_groups(station: Station) -> None:
    groups, order = groups_of(station.deployment("deploy-model/on-demand")["parameter_openapi_schema"]["properties"])
    assert order == ["Model", "Traffic", "Checks", "Run"]
    assert (groups["model"], groups["mirror_percent"], groups["max_error_share"]) == ("Model", "Traffic", "Checks")


def automation_of_rollouts(station: Station) -> dict[str, Any]:
    (found,) = (each for each in station.everything()["automations"] if each["name"] == ROLLOUT_ON_PROMOTION)
    return found


def test_rollout_on_promotion_is_off_until_someone_turns_it_on_and_a_second_deploy_leaves_it_on(
    station: Station,
) -> None:
    assert automation_of_rollouts(station)["enabled"] is False
    assert Done("there", "automation", ROLLOUT_ON_PROMOTION, "off") in station.deploy()
    assert station.deployment("deploy-model/on-promotion")["global_concurrency_limit"]["limit"] == 1
    done = station.prefect("automation", "resume", ROLLOUT_ON_PROMOTION)
    assert done.returncode == 0, done.stdout + done.stderr
    assert automation_of_rollouts(station)["enabled"] is True
    assert verbs(station.deploy()) == {"there"}
    assert automation_of_rollouts(station)["enabled"] is True
    assert station.prefect("automation", "pause", ROLLOUT_ON_PROMOTION).returncode == 0
    assert automation_of_rollouts(station)["enabled"] is False


@pytest.mark.parametrize(("parameter", "value"), WRONG.values(), ids=WRONG.keys())
def test_wrong_parameter_is_refused_by_the_server_as_by_the_command(
    station: Station, parameter: str, value: object
) -> None:
    path = f"/deployments/{station.deployment('train-pipeline/on-demand')['id']}/create_flow_run"
    answer = station.api.post(path, json={"parameters": {parameter: value}})
    assert answer.status_code == 409
    assert "Failure reason: " in answer.json()["detail"]
    with pytest.raises(ParameterError, match=f"^{parameter}: "):
        validated(PipelineParameters, {parameter: value})


def test_parameter_that_there_is_not_is_refused_by_the_server(station: Station) -> None:
    path = f"/deployments/{station.deployment('train-pipeline/on-demand')['id']}/create_flow_run"
    answer = station.api.post(path, json={"parameters": {"regrate": 1}})
    assert (answer.status_code, "'regrate' was unexpected" in answer.text) == (409, True)


def test_wrong_parameter_of_a_deployed_run_is_refused_before_there_is_a_run(station: Station) -> None:
    done = station.prefect("deployment", "run", "train-pipeline/on-demand", "-p", "solver=liblinar")
    assert done.returncode == 1
    assert "'liblinar' is not one of ['lbfgs', 'liblinear'," in done.stdout + done.stderr
    assert not station.flow_runs("train-pipeline/on-demand")


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (
            "slack-webhook/ops",
            r"There is no block slack-webhook/ops\. Make it at http://.*slack-webhook/create, or set",
        ),
        ("slack", r"TANDEM_NOTIFY is 'slack'\. Write TYPE/NAME of a block"),
        ("aws-credentials/ops", r"of one of these types: custom-webhook, .*, ms-teams-webhook, .*, slack-webhook, "),
    ],
)
def test_block_that_there_is_not_is_refused_before_anything_is_changed(
    station: Station, chosen: str, message: str
) -> None:
    before = station.everything()
    with pytest.raises(SettingsError, match=message):
        station.deploy(TANDEM_NOTIFY=chosen)
    assert station.everything() == before


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # of the library behind Prefect's blocks
def test_messages_go_through_one_block_until_nobody_is_to_be_told(station: Station) -> None:
    address = "https://hooks.example.com/a-secret"
    done = station.deploy(TANDEM_NOTIFY="slack-webhook/ops", TANDEM_NOTIFY_URL=address)
    assert Done("made", "block", "slack-webhook/ops") in done
    everything = station.everything()
    assert address not in json.dumps([everything, [each.detail for each in done]])
    (block,) = everything["block_documents"]
    actions = [action for automation in everything["automations"] for action in automation["actions"]]
    through = [action["block_document_id"] for action in actions if action["type"] == "send-notification"]
    assert through == [block["id"]] * 10
    assert verbs(station.deploy()) == {"there"}  # the server remembers the setting
    other = {"TANDEM_NOTIFY_URL": "https://hooks.example.com/another-secret"}
    assert Done("changed", "block", "slack-webhook/ops") in station.deploy(**other)
    assert verbs(station.deploy(**other)) == {"there"}
    removed = [each for each in station.deploy(TANDEM_NOTIFY="none") if each.verb == "removed"]
    assert sum(each.kind == "automation" for each in removed) == 10


FILES = {
    "an automation": ('name: "tandem: train on new data"', "name: mine", r"automation 'mine': `make undeploy` finds"),
    "a deployment without the tag": ("tags: [tandem]", "tags: [mine]", r"by the tag tandem and an entrypoint"),
}


@pytest.mark.parametrize(("there", "instead", "message"), FILES.values(), ids=FILES.keys())
def test_file_that_wants_what_undeploy_could_not_find_is_refused(
    station: Station, tmp_path: Path, there: str, instead: str, message: str
) -> None:
    before = station.everything()
    file = tmp_path / "prefect.yaml"
    text = (PROJECT / "prefect.yaml").read_text()
    assert there in text
    file.write_text(text.replace(there, instead))
    with pytest.raises(SettingsError, match=message):
        station.deploy(file)
    assert station.everything() == before


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # of the library behind Prefect's blocks
def test_block_that_a_person_made_stays_and_one_that_was_made_here_goes_when_another_is_chosen(
    station: Station,
) -> None:
    made = {"TANDEM_NOTIFY": "slack-webhook/ours", "TANDEM_NOTIFY_URL": "https://hooks.example.com/1"}
    assert Done("made", "block", "slack-webhook/ours") in station.deploy(**made)
    theirs = station.make_block("slack-webhook", "theirs", {"url": "https://hooks.example.com/2"})
    done = station.deploy(TANDEM_NOTIFY="slack-webhook/theirs")
    assert {Done("removed", "block", "slack-webhook/ours"), Done("there", "block", "slack-webhook/theirs")} <= set(done)
    station.deploy(TANDEM_NOTIFY="none")
    assert [block["id"] for block in station.everything()["block_documents"]] == [theirs]
    station.api.delete(f"/block_documents/{theirs}").raise_for_status()


def test_undeploy_removes_what_was_made_and_nothing_else(station: Station) -> None:
    assert verbs(station.undeploy()) == {"removed"}
    gone = station.everything()
    assert not any(gone[kind] for kind in ("deployments", "automations", "variables", "block_documents", "work_pools"))
    pool = {"name": "tandem", "type": "process", "description": "of someone else"}
    station.api.post("/work_pools/", json=pool).raise_for_status()
    station.api.post("/variables/", json={"name": "theirs", "value": 1}).raise_for_status()
    flow = station.api.post("/flows/", json={"name": "train-pipeline"}).json()["id"]
    theirs = {"name": "theirs", "flow_id": flow, "work_pool_name": "tandem"}
    station.api.post("/deployments/", json=theirs).raise_for_status()
    # What others have may carry the tag, or a name like ours.
    bicycle = {"name": "bicycle", "flow_id": flow, "tags": ["tandem"], "entrypoint": "bicycles/tandem.py:ride"}
    station.api.post("/deployments/", json=bicycle).raise_for_status()
    station.api.post("/variables/", json={"name": "tandem_bicycle", "value": 1, "tags": ["tandem"]}).raise_for_status()
    trigger = {"type": "event", "posture": "Reactive", "expect": ["prefect.flow-run.Completed"], "threshold": 1}
    for name, tags in (("tandem: mine", []), ("bicycle", ["tandem"])):
        automation = {"name": name, "tags": tags, "trigger": trigger, "actions": [{"type": "do-nothing"}]}
        station.api.post("/automations/", json=automation).raise_for_status()
    before = {kind: [each["id"] for each in found] for kind, found in station.everything().items()}
    assert verbs(station.deploy(), "pool") == {"there"}
    done = station.run(sys.executable, "-m", "deployments.deploy", "undeploy")
    assert done.returncode == 0, done.stderr
    assert {kind: [each["id"] for each in found] for kind, found in station.everything().items()} == before
    assert station.undeploy() == []
