"""One rollout, one that fails and one way back, killed on the way and asked at a constant rate, at both places.

Two of them are slow at one of the places. The other modules, all slow, prove every action and every kind of failure.
"""

import signal

import pytest

from tests.rollout.places import Commands
from tests.rollout.small_models import GOOD, GOOD_TOO, MODEL
from tests.rollout.test_under_load import assert_alone, colour_of, under_load

pytestmark = pytest.mark.filterwarnings("ignore")

DIES_WITH_A_SHARE = 9
LOCAL, AZURE_ML = pytest.param("local"), pytest.param("azureml")
SLOW_LOCAL, SLOW_AZURE_ML = (pytest.param(name, marks=pytest.mark.slow) for name in ("local", "azureml"))
REASON = ("--reason", "wrong on the new clinic")


@pytest.fixture
def serving(tandem: Commands) -> Commands:
    """The place, which serves the first or the second version alone."""
    there = tandem.place.look()
    if there is None:
        done = tandem.deploy(GOOD, "--json")
        assert (done.code, done.summary["verdict"]) == (0, "Deployed"), done
    return tandem


def served(tandem: Commands) -> int:
    there = tandem.place.look()
    assert there is not None and there.alone is not None, there
    return there.alone


def test_rollout_killed_with_half_of_the_traffic_goes_on_to_its_end_without_a_failed_request(serving: Commands) -> None:
    old, wanted = colour_of(serving), GOOD_TOO if served(serving) == GOOD else GOOD
    words = ("deploy", f"{MODEL}:{wanted}")
    load, dead = under_load(serving, "killed", lambda: serving.killed("after SetShare 50", *words))
    assert dead.code == -signal.SIGKILL, dead
    later, done = under_load(serving, "gone on with", lambda: serving.run(*words))
    assert done.code == 0, done.err
    assert [*load.failed, *later.failed] == []
    assert load.answers_of(old) and later.answers_of(colour_of(serving))
    assert_alone(serving, wanted)


@pytest.mark.parametrize("place", [LOCAL, SLOW_AZURE_ML], indirect=True)
def test_version_that_dies_with_a_share_is_rolled_back_and_only_its_share_has_failed(serving: Commands) -> None:
    old, before = colour_of(serving), served(serving)
    load, done = under_load(serving, "rolled back", lambda: serving.deploy(DIES_WITH_A_SHARE, "--json"))
    assert (done.code, done.summary["verdict"]) == (1, "RolledBack"), done.err
    assert old not in {one.deployment for one in load.failed}
    assert_alone(serving, before)


@pytest.mark.parametrize("place", [SLOW_LOCAL, AZURE_ML], indirect=True)
def test_rollback_killed_after_its_move_and_typed_again_is_one_move_that_is_served(serving: Commands) -> None:
    assert serving.run("promote", f"{MODEL}:{GOOD_TOO}", *REASON).code == 0
    assert serving.killed("after Move", "rollback", MODEL, *REASON, "--deploy").code == -signal.SIGKILL
    load, done = under_load(serving, "rollback", lambda: serving.run("rollback", MODEL, *REASON, "--deploy", "--json"))
    assert done.code == 0, done.err
    assert done.summary.items() >= {"champion": GOOD, "before": GOOD_TOO, "version": GOOD}.items()
    assert (load.failed, serving.place.champion()) == ([], GOOD)
    assert_alone(serving, GOOD)
