"""When to look at a job, and when to stop waiting for it."""

import pytest

from flows.engines.polling import FIRST_SECONDS, LONGEST_SECONDS, SELDOM_SECONDS, Timeouts, Watch, covered_seconds


def looked(watch: Watch, *looks: tuple[float, str]) -> Watch:
    for now, status in looks:
        watch.observe(now, status, status)
    return watch


def test_looks_become_rare_while_nothing_changes_and_frequent_at_once_when_something_does() -> None:
    watch = Watch(Timeouts())
    intervals: list[float] = []
    for second in range(30):
        watch.observe(float(second), "Running", "same")
        intervals.append(watch.interval)
    assert intervals[0] == FIRST_SECONDS
    assert intervals == sorted(intervals)
    assert intervals[-1] == LONGEST_SECONDS
    watch.observe(31.0, "Running", "another step runs")
    assert watch.interval == FIRST_SECONDS


def overdue(watch: Watch, now: float) -> str:
    found = watch.overdue(now)
    return "" if found is None else found.reason


def test_queued_time_never_counts_as_run_time() -> None:
    watch = looked(Watch(Timeouts()), (0, "Queued"), (500, "Queued"), (600, "Running"), (610, "Completed"))
    assert (watch.queued_seconds, watch.running_seconds) == (600, 10)


def test_job_is_overdue_in_the_queue_only_by_its_queue_timeout() -> None:
    watch = looked(Watch(Timeouts(queue_timeout_seconds=60, run_timeout_seconds=5)), (0, "Queued"), (59, "Queued"))
    assert watch.overdue(59) is None
    looked(watch, (60, "Queued"))
    assert overdue(watch, 60) == "it was still Queued after 60 s (queue_timeout_seconds is 60)"


def test_job_is_overdue_when_it_has_run_too_long() -> None:
    watch = looked(Watch(Timeouts(run_timeout_seconds=5)), (0, "Queued"), (100, "Running"), (106, "Running"))
    assert overdue(watch, 106) == "it ran for more than 5 s (run_timeout_seconds)"


def test_status_that_nobody_knows_counts_as_run_time() -> None:
    watch = looked(Watch(Timeouts(run_timeout_seconds=5)), (0, "Queued"), (100, "Throttled"), (106, "Throttled"))
    assert overdue(watch, 106) == "it ran for more than 5 s (run_timeout_seconds)"


def test_paused_counts_as_waiting_and_not_responding_is_forgiven_for_a_while() -> None:
    watch = looked(Watch(Timeouts()), (0, "Running"), (10, "Paused"), (20, "NotResponding"), (619, "NotResponding"))
    assert watch.queued_seconds == 10
    assert watch.overdue(619) is None
    looked(watch, (621, "NotResponding"))
    assert overdue(watch, 621) == "it has not responded for 601 s"
    looked(watch, (622, "Running"))
    assert watch.overdue(622) is None


def test_failed_looks_are_no_failure_of_the_job_until_patience_ends() -> None:
    watch = looked(Watch(Timeouts(unreachable_seconds=60)), (0, "Running"))
    watch.missed(5)
    watch.missed(64)
    assert watch.overdue(64) is None
    watch.missed(65)
    assert overdue(watch, 65) == "the workspace has not answered for 60 s"
    looked(watch, (66, "Running"))
    assert watch.overdue(66) is None


def test_time_before_the_first_look_counts() -> None:
    watch = Watch(Timeouts(run_timeout_seconds=100))
    watch.begin(queued_seconds=500, running_seconds=95)
    looked(watch, (0, "Running"), (6, "Running"))
    assert overdue(watch, 6) == "it ran for more than 100 s (run_timeout_seconds)"


@pytest.mark.parametrize(
    ("timeouts", "status", "seconds"),
    [
        (Timeouts(), "Running", None),
        (Timeouts(run_timeout_seconds=1000), "Queued", 930),
        (Timeouts(queue_timeout_seconds=50, run_timeout_seconds=1000), "Queued", 20),
        (Timeouts(queue_timeout_seconds=50), "Running", SELDOM_SECONDS),
        (Timeouts(queue_timeout_seconds=5000), "Running", 4970),
    ],
)
def test_a_job_that_nobody_watches_is_looked_at_before_a_limit_passes(
    timeouts: Timeouts, status: str, seconds: float | None
) -> None:
    watch = Watch(timeouts, status=status)
    watch.begin(queued_seconds=30, running_seconds=70)
    assert watch.limit_seconds() == seconds


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [([], 0), ([(0, 5), (10, 15)], 10), ([(3, 9), (0, 5)], 9), ([(0, 10), (2, 3)], 10), ([(5, 4)], 0)],
)
def test_time_that_is_covered_twice_counts_once(spans: list[tuple[float, float]], seconds: float) -> None:
    assert covered_seconds(spans) == seconds
