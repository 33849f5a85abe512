"""``tandem promote`` and ``tandem rollback``, killed and started again, at both places."""

import signal

import pytest

from tests.rollout.places import Commands
from tests.rollout.small_models import GOOD, GOOD_TOO, MODEL
from tests.rollout.test_under_load import assert_alone, serving_alone

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

REASON = ("--reason", "wrong on the new clinic")
THIRD = 3


def test_rollback_killed_before_or_after_its_move_and_typed_again_is_one_move_and_the_next_goes_one_further(
    tandem: Commands,
) -> None:
    for version in (GOOD_TOO, THIRD):
        assert tandem.run("promote", f"{MODEL}:{version}", *REASON).code == 0
    for moment, champion in (("before Move", THIRD), ("after Move", GOOD_TOO)):
        assert tandem.killed(moment, "rollback", MODEL, *REASON).code == -signal.SIGKILL
        assert tandem.place.champion() == champion
    again = tandem.run("rollback", MODEL, *REASON)
    assert (again.code, tandem.place.champion()) == (0, GOOD_TOO), again
    assert f"{MODEL}:{GOOD_TOO} is the champion, in place of version {THIRD}, as an earlier start" in again.out
    further = tandem.run("rollback", MODEL, *REASON, "--json")
    assert further.summary == {"model": MODEL, "champion": GOOD, "before": GOOD_TOO}


def test_promotion_and_rollback_with_deploy_print_one_document_and_leave_no_old_deployment_to_wait_for(
    tandem: Commands,
) -> None:
    endpoint = tandem.endpoint_file
    endpoint.write_text(endpoint.read_text().replace('keep_seconds: "0"', 'keep_seconds: "86400"'))
    serving_alone(tandem, GOOD)
    promoted = tandem.run("promote", f"{MODEL}:{GOOD_TOO}", *REASON, "--deploy", "--json")
    assert promoted.code == 0, promoted.err
    told = {"champion": GOOD_TOO, "before": GOOD, "verdict": "Deployed", "model": MODEL, "version": GOOD_TOO}
    assert promoted.summary.items() >= told.items()
    assert_alone(tandem, GOOD_TOO)
    dead = tandem.killed("before SetShare 100", "rollback", MODEL, *REASON, "--deploy")
    assert (dead.code, tandem.place.champion()) == (-signal.SIGKILL, GOOD), dead
    again = tandem.run("rollback", MODEL, *REASON, "--deploy", "--json")
    assert again.code == 0, again.err
    told = {"champion": GOOD, "before": GOOD_TOO, "verdict": "Deployed", "version": GOOD}
    assert again.summary.items() >= told.items()
    assert_alone(tandem, GOOD)
    assert tandem.run("rollback", MODEL, *REASON).code == 2  # the last one has ended, and version 1 has replaced none


def test_rollback_of_an_endpoint_killed_and_typed_again_serves_the_same_version(tandem: Commands) -> None:
    serving_alone(tandem, GOOD)
    assert tandem.run("promote", f"{MODEL}:{GOOD_TOO}", *REASON, "--deploy").code == 0
    for moment in ("after Begin", "after SetShare 100", "before Delete"):
        dead = tandem.killed(moment, "rollback", "--endpoint", tandem.place.endpoint)
        assert dead.code == -signal.SIGKILL, (moment, dead)
    again = tandem.run("rollback", "--endpoint", tandem.place.endpoint)
    assert again.code == 0, again.err
    assert f"Going on with the rollback of {tandem.place.endpoint} to {MODEL}:{GOOD}" in again.err
    assert_alone(tandem, GOOD)


def test_rollback_of_an_endpoint_after_a_deploy_that_was_killed_brings_back_what_was_served_before_it(
    tandem: Commands,
) -> None:
    serving_alone(tandem, GOOD)
    dead = tandem.killed("after SetShare 10", "deploy", f"{MODEL}:{GOOD_TOO}")
    assert dead.code == -signal.SIGKILL, dead
    back = tandem.run("rollback", "--endpoint", tandem.place.endpoint)
    assert back.code == 0, back.err
    assert_alone(tandem, GOOD)
