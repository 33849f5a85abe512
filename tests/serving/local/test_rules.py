"""The pure rules of local serving: when an instance is started again, and who gets the next request."""

from collections import Counter

from flows.serving.local.restarts import LONGEST_DELAY_SECONDS, next_start
from flows.serving.local.shares import Shares, of_session


def test_an_instance_that_ended_by_itself_before_it_was_ready_is_not_started_again() -> None:
    assert next_start([5.0], 1, was_ready=False, now=5.0) is None


def test_an_instance_that_was_killed_before_it_was_ready_gets_two_more_tries() -> None:
    assert next_start([5.0], -9, was_ready=False, now=5.0) is not None
    assert next_start([5.0, 6.0], -9, was_ready=False, now=6.0) is not None
    assert next_start([5.0, 6.0, 7.0], -9, was_ready=False, now=7.0) is None


def test_an_instance_that_was_ready_is_started_later_each_time_and_in_the_end_no_more() -> None:
    deaths, delays = list[float](), list[float]()
    for death in (10.0, 20.0, 30.0, 40.0):
        deaths.append(death)
        again = next_start(deaths, -9, was_ready=True, now=death)
        assert again is not None
        delays.append(again - death)
    assert delays == sorted(delays) and len(set(delays)) == 4 and delays[-1] <= LONGEST_DELAY_SECONDS
    assert next_start([*deaths, 50.0], 1, was_ready=True, now=50.0) is None
    assert next_start([*deaths, 5_000.0], 1, was_ready=True, now=5_000.0) is not None


def test_the_next_deployment_follows_the_shares_evenly() -> None:
    shares = Shares()
    chosen = [shares.choose({"blue": 90, "green": 10, "red": 0}) for _ in range(100)]
    assert Counter(chosen) == {"blue": 90, "green": 10}
    assert all(Counter(chosen[at : at + 10])["green"] == 1 for at in range(0, 100, 10))
    assert shares.choose({"blue": 0}) is None and shares.choose({}) is None
    assert [shares.choose({"green": 100}) for _ in range(3)] == ["green"] * 3


def test_sessions_are_divided_by_the_shares_and_each_stays() -> None:
    weights = {"blue": 80, "green": 20, "red": 0}
    chosen = {f"s{number}": of_session(f"s{number}", weights) for number in range(1_000)}
    assert 100 < Counter(chosen.values())["green"] < 300 and "red" not in chosen.values()
    assert all(of_session(name, weights) == found for name, found in chosen.items())
    assert of_session("s", {}) is None
