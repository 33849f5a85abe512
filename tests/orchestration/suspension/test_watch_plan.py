"""One watcher, a thousand jobs, a clock that is not a clock."""

import pytest

from flows.orchestration.suspension.watch_plan import (
    CALLS_A_LOOK,
    LOOK_SECONDS,
    PAGES_A_LOOK,
    Action,
    Wait,
    WatchPlan,
    actions,
)

PAGE = 100


class Workspace:
    """Jobs, the newest first, each of which ends at a moment; what is asked of it is counted."""

    def __init__(self, ends: dict[str, float]) -> None:
        self.ends = ends
        self.newest = list(reversed(ends))

    def look(self, plan: WatchPlan, wanted: set[str], now: float) -> tuple[dict[str, str], int]:
        """What a look by the plan shows, and how many calls it took."""
        seen: list[str] = []
        calls = 0
        for at in range(plan.pages(wanted)):
            if wanted <= set(seen) or at * PAGE >= len(self.newest):
                break
            calls += 1
            seen += [name for name in self.newest[at * PAGE : (at + 1) * PAGE] if name in wanted]
        asked = plan.one_by_one(wanted - set(seen), calls)
        seen += asked
        plan.saw(seen, wanted, now)
        return {name: "Completed" if self.ends[name] <= now else "Running" for name in seen}, calls + len(asked)


def followed(workspace: Workspace, wanted: set[str]) -> tuple[dict[str, float], list[int]]:
    """When each wanted job's flow run was resumed, and the calls of each look."""
    plan, waits = WatchPlan(), [Wait(name, name) for name in sorted(wanted)]
    resumed: dict[str, float] = {}
    calls: list[int] = []
    now = 0.0
    while len(resumed) < len(wanted):
        assert now < 1e6, "waited in vain"
        left = [wait for wait in waits if wait.flow_run_id not in resumed]
        statuses, made = workspace.look(plan, {wait.job_name for wait in left}, now)
        calls.append(made)
        for wait, action in actions(left, statuses, now):
            assert action is Action.RESUME
            assert wait.flow_run_id not in resumed
            resumed[wait.flow_run_id] = now
        now += LOOK_SECONDS
    return resumed, calls


@pytest.mark.parametrize("count", [1, CALLS_A_LOOK, CALLS_A_LOOK + 1, 1000])
def test_every_job_is_noticed_one_look_after_its_end(count: int) -> None:
    ends = {f"job-{number}": 37.0 * (number % 50) for number in range(count)}
    resumed, calls = followed(Workspace(ends), set(ends))
    assert max(resumed[name] - end for name, end in ends.items()) <= LOOK_SECONDS
    assert max(calls) <= CALLS_A_LOOK


def test_a_thousand_jobs_take_ten_calls_a_look() -> None:
    ends = {f"job-{number}": 600.0 for number in range(1000)}
    _, calls = followed(Workspace(ends), set(ends))
    assert set(calls) == {10}


def test_jobs_below_thousands_of_newer_ones_are_asked_for_in_turn_within_the_same_number_of_calls() -> None:
    buried = {f"old-{number}": 100.0 for number in range(1000)}
    workspace = Workspace(buried | {f"new-{number}": 0.0 for number in range(5000)})
    resumed, calls = followed(workspace, set(buried))
    a_look = CALLS_A_LOOK - PAGES_A_LOOK
    assert set(calls) <= set(range(PAGES_A_LOOK, CALLS_A_LOOK + 1)) | set(range(1, CALLS_A_LOOK + 1))
    assert max(resumed.values()) - 100.0 <= (1000 / a_look + 1) * LOOK_SECONDS


def decided(status: str | None, **wait: object) -> Action | None:
    found = actions([Wait("run", "job", **wait)], {} if status is None else {"job": status}, 100.0)  # type: ignore[arg-type]
    return found[0][1] if found else None


@pytest.mark.parametrize(
    ("status", "action"),
    {
        None: None,
        "Queued": None,
        "Running": None,
        "CancelRequested": None,
        "Completed": Action.RESUME,
        "Failed": Action.RESUME,
        "Canceled": Action.RESUME,
        "NotResponding": Action.RESUME,
        "Gone": Action.RESUME,
    }.items(),
)
def test_flow_run_is_resumed_when_its_job_is_over_or_in_trouble(status: str | None, action: Action | None) -> None:
    assert decided(status) is action


@pytest.mark.parametrize(
    ("status", "action"),
    {
        None: None,
        "Running": Action.CANCEL,
        "Queued": Action.CANCEL,
        "NotResponding": Action.CANCEL,
        "CancelRequested": None,
        "Canceled": Action.FORGET,
        "Completed": Action.FORGET,
        "Gone": Action.FORGET,
    }.items(),
)
def test_job_is_canceled_of_a_flow_run_that_is_over(status: str | None, action: Action | None) -> None:
    assert decided(status, abandoned=True, wake_at=0.0) is action


@pytest.mark.parametrize(("wake_at", "action"), {99.0: Action.RESUME, 101.0: None}.items())
def test_flow_run_is_resumed_when_a_limit_may_have_passed(wake_at: float, action: Action | None) -> None:
    assert decided("Running", wake_at=wake_at) is action
    assert decided(None, wake_at=wake_at) is action


def test_many_that_are_abandoned_at_once_are_canceled_over_several_looks() -> None:
    waits = [Wait(f"run-{number}", f"job-{number}", abandoned=True) for number in range(100)]
    first = actions(waits, {wait.job_name: "Running" for wait in waits}, 0.0)
    assert [action for _, action in first] == [Action.CANCEL] * CALLS_A_LOOK


def test_plan_forgets_what_is_not_wanted_any_more() -> None:
    plan = WatchPlan()
    plan.saw(["a", "b"], {"a", "b"}, 0.0)
    plan.saw([], {"b"}, 1.0)
    assert list(plan.seen_at) == ["b"]
