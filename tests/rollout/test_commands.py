"""``tandem deploy`` as a person types it, at both places."""

from pathlib import Path

import pytest

from tests.rollout.places import Commands, ThisMachine, Workspace, ended
from tests.rollout.small_models import GOOD, GOOD_TOO, MODEL

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def test_first_deployment_is_served_and_the_same_command_then_does_nothing(tandem: Commands) -> None:
    done = tandem.deploy(GOOD, "--json")
    assert done.code == 0, done.err
    assert (done.summary["verdict"], done.summary["version"]) == ("Deployed", GOOD)
    again = tandem.run("deploy", MODEL)
    assert again.code == 0, again.err
    assert f"{MODEL}:{GOOD} is served by the endpoint {tandem.place.endpoint} already" in again.out
    there = tandem.place.look()
    assert there is not None
    assert (there.alone, tandem.place.workers(), tandem.place.left()) == (GOOD, 1, [])


def test_second_command_is_refused_while_the_first_rolls_out(tandem: Commands, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    with tandem.waiting("before Check 10", go_on, "deploy", f"{MODEL}:{GOOD_TOO}") as first:
        refused = tandem.deploy(GOOD)
        during = tandem.place.look()
        go_on.touch()
        done = ended(first)
    assert refused.code == 1, refused.out
    assert "is being changed by another rollout" in refused.err
    assert "Traceback" not in refused.err
    assert during is not None and sorted(during.versions.values()) == [GOOD, GOOD_TOO]
    assert done.code == 0, done.err
    there = tandem.place.look()
    assert there is not None and there.alone == GOOD_TOO


@pytest.mark.parametrize("place", ["azureml"], indirect=True)
def test_second_deployment_is_made_where_just_one_more_fits_into_the_quota(tandem: Commands) -> None:
    assert isinstance(tandem.place, Workspace)
    quota = tandem.place.service.computes.quota
    assert tandem.deploy(GOOD).code == 0
    quota["standardDSv2Family", "dedicated"] = (17, 24)  # one of 4 cores needs 8
    refused = tandem.deploy(GOOD_TOO)
    assert (refused.code, "need 8 cores" in refused.err) == (1, True), refused
    quota["standardDSv2Family", "dedicated"] = (16, 24)
    done = tandem.deploy(GOOD_TOO)
    assert done.code == 0, done.err


def test_of_two_commands_that_start_at_once_one_rolls_out_and_nothing_is_made_twice(tandem: Commands) -> None:
    tandem.deploy(GOOD)
    both = [tandem.start("deploy", f"{MODEL}:{GOOD_TOO}") for _ in range(2)]
    done = [ended(process) for process in both]
    assert 0 in [one.code for one in done], done
    for one in done:
        assert one.code == 0 or "is being changed by another rollout" in one.err, one
    there = tandem.place.look()
    assert there is not None
    assert (there.alone, tandem.place.workers(), tandem.place.left()) == (GOOD_TOO, 1, [])


def test_promoted_version_is_deployed_with_the_server_of_the_local_state_where_no_other_is_named(
    tmp_path: Path, registered_models: Path
) -> None:
    place = ThisMachine(tmp_path, None, registered_models)
    words = ("promote", f"{MODEL}:{GOOD}", "--reason", "so", "--deploy", "--endpoint", "nowhere")
    done = Commands(place).run(*words)
    assert (done.code, "There is no endpoint nowhere" in done.err) == (2, True), done
    said = [line for line in (done.out + done.err).splitlines() if not line.startswith("Waiting for a temporary")]
    assert "server" not in "\n".join(said)
    assert not list((tmp_path / ".prefect").glob("*.db*"))  # where a server of Prefect itself would keep its runs
