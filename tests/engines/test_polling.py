"""When to look at a job, and when to stop waiting for it."""

from flows.engines.polling import FIRST_SECONDS, LONGEST_SECONDS, Patience, Watch


def looked(watch: Watch, *looks: tuple[float, str]) -> Watch:
    for now, status in looks:
        watch.observe(now, status, status)
    return watch


def test_looks_become_rare_while_nothing_changes_and_frequent_at_once_when_something_does() -> None:
    watch = Watch(Patience())
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
    watch = looked(Watch(Patience()), (0, "Queued"), (500, "Queued"), (600, "Running"), (610, "Completed"))
    assert (watch.queued_seconds, watch.running_seconds) == (600, 10)


def test_job_is_overdue_in_the_queue_only_by_its_queue_timeout() -> None:
    watch = looked(Watch(Patience(queue_timeout_seconds=60, run_timeout_seconds=5)), (0, "Queued"), (59, "Queued"))
    assert watch.overdue(59) is None
    looked(watch, (60, "Queued"))
    assert overdue(watch, 60) == "it was still Queued after 60 s (queue_timeout_seconds is 60)"


def test_job_is_overdue_when_it_has_run_too_long() -> None:
    watch = looked(Watch(Patience(run_timeout_seconds=5)), (0, "Queued"), (100, "Running"), (106, "Running"))
    assert overdue(watch, 106) == "it ran for more than 5 s (run_timeout_seconds)"


def test_paused_counts_as_waiting_and_not_responding_is_forgiven_for_a_while() -> None:
    watch = looked(Watch(Patience()), (0, "Running"), (10, "Paused"), (20, "NotResponding"), (619, "NotResponding"))
    assert watch.queued_seconds == 10
    assert watch.overdue(619) is None
    looked(watch, (621, "NotResponding"))
    assert overdue(watch, 621) == "it has not responded for 601 s"
    looked(watch, (622, "Running"))
    assert watch.overdue(622) is None


def test_failed_looks_are_no_failure_of_the_job_until_patience_ends() -> None:
    watch = looked(Watch(Patience(unreachable_seconds=60)), (0, "Running"))
    watch.missed(5)
    watch.missed(64)
    assert watch.overdue(64) is None
    watch.missed(65)
    assert overdue(watch, 65) == "the workspace has not answered for 60 s"
    looked(watch, (66, "Running"))
    assert watch.overdue(66) is None
