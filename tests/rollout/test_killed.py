"""``tandem deploy`` killed with SIGKILL at each action of a rollout, and started again, at both places.

Each rollout is killed at one moment after the other: what is started again goes on, and is killed at the next. The
endpoint is asked at a constant rate all the while. Each test leaves one version served alone, and the next one rolls
out the other.
"""

import signal
from collections.abc import Sequence

import pytest

from tests.rollout.load import Load
from tests.rollout.places import Commands, Workspace
from tests.rollout.small_models import GOOD, GOOD_TOO, MODEL, REQUEST
from tests.rollout.test_under_load import assert_alone, serving_alone
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

FAILS_WITH_A_SHARE = 6
PAUSE = ("--pause-seconds", "2")  # long enough for every share to be held

BEFORE_EACH = [
    *("before Begin", "before Deploy", "before Smoke"),
    *("before SetShare 10", "before Hold 10", "before Check 10", "before SetShare 50", "before Check 50"),
    *("before SetShare 100", "before Check 100", "before Retire", "before Keep", "before Delete"),
]
WITHIN = ["during Deploy", "during SetShare 10", "after SetShare 50", "during SetShare 100", "during Delete"]
AFTER = ["after Begin", "after Smoke", "after SetShare 10", "after SetShare 100", "after Retire", "after Delete"]
BACK = ["before RestoreShares", "during RestoreShares", "before Undo", "during Undo"]
AFTER_GOING_BACK = ["after RestoreShares", "after Undo"]
FIRST = ["before CreateEndpoint", "during CreateEndpoint", "after Begin", "before SetShare 100", "after SetShare 100"]


@pytest.fixture(autouse=True)
def azure_ml_takes_its_time(tandem: Commands) -> None:
    """Let a change take long enough that a command can die meanwhile."""
    if isinstance(tandem.place, Workspace):
        tandem.place.service.operations.seconds = 0.3


@pytest.fixture
def serving(tandem: Commands) -> Commands:
    """The place, which serves one of the good versions alone."""
    there = tandem.place.look()
    return tandem if there is not None and there.alone in {GOOD, GOOD_TOO} else serving_alone(tandem, GOOD)


def served(tandem: Commands) -> int:
    there = tandem.place.look()
    assert there is not None and there.alone is not None
    return there.alone


def kill_at_each(tandem: Commands, moments: Sequence[str], version: int, *words: str) -> None:
    """Start the same command again and again, and let it die at one moment after the other."""
    for moment in moments:
        dead = tandem.killed(moment, "deploy", f"{MODEL}:{version}", *words)
        assert dead.code == -signal.SIGKILL, (moment, dead)
        until(lambda: not tandem.place.left())
        there = tandem.place.look()
        assert there is None or sum(there.shares.values()) in {0, 100}, moment
        assert tandem.place.workers() <= 2, moment


def rolled_out(tandem: Commands, moments: Sequence[str]) -> None:
    """Roll out the other version, killed at each moment, while it is asked."""
    wanted = GOOD_TOO if served(tandem) == GOOD else GOOD
    with Load(tandem.place.address(), REQUEST) as load:
        kill_at_each(tandem, moments, wanted, *PAUSE)
        done = tandem.deploy(wanted, *PAUSE)
    print(f"\n{tandem.place.name}: killed {len(moments)} times, {moments[0]} to {moments[-1]}: {load.told()}")
    assert done.code == 0, done.err
    assert load.failed == []
    assert_alone(tandem, wanted)


@pytest.mark.parametrize("moments", [BEFORE_EACH, WITHIN, AFTER], ids=["before", "within", "after"])
def test_rollout_killed_at_each_action_serves_the_new_version_alone_in_the_end(
    serving: Commands, moments: Sequence[str]
) -> None:
    rolled_out(serving, moments)


@pytest.mark.parametrize("moments", [BACK, AFTER_GOING_BACK], ids=["within", "after"])
def test_way_back_killed_at_each_action_serves_the_old_version_alone_in_the_end(
    serving: Commands, moments: Sequence[str]
) -> None:
    before = served(serving)
    with Load(serving.place.address(), REQUEST) as load:
        kill_at_each(serving, moments, FAILS_WITH_A_SHARE)
        done = serving.deploy(FAILS_WITH_A_SHARE)
    print(f"\n{serving.place.name}: way back killed {len(moments)} times: {load.told()}")
    assert (done.code, "RolledBack" in done.out) == (1, True), done
    assert load.failed == []  # a wrong answer has status 200
    assert_alone(serving, before)


def test_rollout_that_is_killed_is_undone_before_another_version_is_rolled_out(serving: Commands) -> None:
    serving_alone(serving, GOOD)
    with Load(serving.place.address(), REQUEST) as load:
        kill_at_each(serving, ["after SetShare 10"], FAILS_WITH_A_SHARE)
        done = serving.deploy(GOOD_TOO)
    assert done.code == 0, done.err
    assert load.failed == []
    assert_alone(serving, GOOD_TOO)


def test_first_deployment_killed_at_each_action_serves_its_version_alone_in_the_end(tandem: Commands) -> None:
    tandem.place.close()
    kill_at_each(tandem, FIRST, GOOD)
    done = tandem.deploy(GOOD)
    assert done.code == 0, done.err
    assert_alone(tandem, GOOD)
