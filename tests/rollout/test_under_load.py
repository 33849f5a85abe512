"""Rollouts and ways back by command, while an endpoint is asked at a constant rate, at both places.

``pytest -s`` shows the counts of requests.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rollout.load import Load
from tests.rollout.places import Commands, Done, ended
from tests.rollout.small_models import GOOD, GOOD_TOO, MODEL, REQUEST

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

AT_ONCE = {3: "wrong from the first request", 4: "never starts", 5: "hangs from the first request"}
LATER = {6: "wrong", 7: "slow", 8: "raises", 9: "dies", 10: "hangs"}


@pytest.fixture
def serving(tandem: Commands) -> Commands:
    """The place, which serves the first version alone."""
    return serving_alone(tandem, GOOD)


def serving_alone(tandem: Commands, version: int) -> Commands:
    there = tandem.place.look()
    if there is None or there.alone != version:
        done = tandem.deploy(version)
        assert done.code == 0, done.err
    return tandem


def under_load(tandem: Commands, what: str, command: Callable[[], Done]) -> tuple[Load, Done]:
    with Load(tandem.place.address(), REQUEST) as load:
        done = command()
    print(f"\n{tandem.place.name}: {what}: {load.told()}")
    return load, done


def colour_of(tandem: Commands) -> str:
    there = tandem.place.look()
    assert there is not None
    (colour,) = there.shares
    return colour


def assert_alone(tandem: Commands, version: int) -> None:
    there = tandem.place.look()
    assert there is not None
    assert (there.alone, tandem.place.workers(), tandem.place.left()) == (version, 1, []), there


def test_promoted_version_takes_over_without_a_failed_request(serving: Commands) -> None:
    old = colour_of(serving)
    load, done = under_load(serving, "rollout", lambda: serving.deploy(GOOD_TOO))
    assert done.code == 0, done.err
    assert load.failed == []
    assert load.answers_of(old) and load.answers_of(colour_of(serving))
    assert_alone(serving, GOOD_TOO)


@pytest.mark.parametrize("version", AT_ONCE, ids=AT_ONCE.values())
def test_version_that_fails_its_first_test_gets_no_request_and_is_rolled_back(serving: Commands, version: int) -> None:
    old = colour_of(serving)
    load, done = under_load(serving, f"rolled back, {AT_ONCE[version]}", lambda: serving.deploy(version, "--json"))
    assert (done.code, done.summary["verdict"]) == (1, "RolledBack"), done.err
    assert load.failed == [] and load.answers_of(old) == len(load.asked)
    assert_alone(serving, GOOD)


@pytest.mark.parametrize("version", LATER, ids=LATER.values())
def test_version_that_fails_with_a_share_is_rolled_back_and_only_its_share_has_failed(
    serving: Commands, version: int
) -> None:
    old = colour_of(serving)
    limits = ("--pause-seconds", "2", "--max-p99-seconds", "1.2", "--json")
    load, done = under_load(serving, f"rolled back, {LATER[version]}", lambda: serving.deploy(version, *limits))
    assert (done.code, done.summary["verdict"]) == (1, "RolledBack"), done.err
    assert " at 10 % of the traffic: " in done.summary["failed"]
    bad = {one.deployment for one in load.asked} - {old}
    assert len(bad) <= 1 and None not in bad
    assert {one.deployment for one in load.failed} <= bad
    assert_alone(serving, GOOD)


def test_promotion_and_rollback_by_hand_serve_without_a_failed_request(serving: Commands) -> None:
    def moved(*words: str) -> Done:
        return serving.run(*words, "--reason", "it was asked for", "--deploy")

    load, done = under_load(serving, "promote", lambda: moved("promote", f"{MODEL}:{GOOD_TOO}"))
    assert done.code == 0, done.err
    assert load.failed == []
    assert serving.place.champion() == GOOD_TOO
    assert_alone(serving, GOOD_TOO)
    load, done = under_load(serving, "rollback of the model", lambda: moved("rollback", MODEL))
    assert done.code == 0, done.err
    assert load.failed == []
    assert serving.place.champion() == GOOD
    assert_alone(serving, GOOD)


def test_rollback_of_an_endpoint_brings_back_the_deployment_that_is_kept_without_a_failed_request(
    serving: Commands, tmp_path: Path
) -> None:
    old, go_on = colour_of(serving), tmp_path / "go-on"
    with serving.waiting("before Keep", go_on, "deploy", f"{MODEL}:{GOOD_TOO}", "--keep-seconds", "600") as first:
        load, done = under_load(
            serving, "rollback of the endpoint", lambda: serving.run("rollback", "--endpoint", serving.place.endpoint)
        )
        go_on.touch()
        overtaken = ended(first)
    assert (overtaken.code, "Overtaken: " in overtaken.out) == (1, True), overtaken
    assert done.code == 0, done.err
    assert load.failed == []
    assert load.answers_of(old) and "creating the deployment" not in done.out
    assert colour_of(serving) == old
    assert_alone(serving, GOOD)
