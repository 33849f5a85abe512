"""Tests of a new deployment: known rows by header before it has a share, then through the route at each share."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from flows.rollout.checks.known_rows import KnownRows
from flows.rollout.policy import RolloutPolicy
from flows.serving.endpoints import Answer, Endpoint
from flows.serving.serving import Serving
from flows.spec.text.words import counted

REFUSED = {400, 424}  # Azure answers 424 where the script's own status is another one than 200
LEAST_ANSWERS = 5
MOST_TRIES = 20  # times the requests of the policy, to be answered by a deployment with a small share
LOG_LINES = 2000
# The exceptions in a log, by their kind; what they say may quote a request, so it is not told.
_EXCEPTION = re.compile(r"^.*Traceback \(most recent call last\):$\n(?:[ \t].*\n|\n)*(?P<kind>[\w.]+)?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of the requests of one check, of those that the new deployment answered.

    Attributes:
        answers: How many there were.
        failed: How many of them failed.
        p99_seconds: The time within which 99 of 100 were answered.
        reason: Of the first that failed.
    """

    answers: int
    failed: int
    p99_seconds: float
    reason: str = ""

    def fault(self, policy: RolloutPolicy) -> str:
        """What is beyond the limits, in words; empty if nothing is."""
        if self.failed > policy.max_error_share * self.answers:
            return (
                f"{self.failed} of {self.answers} requests failed ({self.reason}); at most "
                f"{policy.max_error_share:.1%} may"
            )
        if self.p99_seconds > policy.max_p99_seconds:
            return f"99 of 100 requests took up to {self.p99_seconds:.2f} s; the limit is {policy.max_p99_seconds:g} s"
        return ""


class EndpointExaminer:
    """Tests a deployment with the rows that its model knows; an :class:`flows.rollout.rollout.Examiner`.

    Attributes:
        measured: The last check.
    """

    def __init__(self, serving: Serving, known: KnownRows) -> None:
        self._serving = serving
        self._known = known
        self.measured: Measured | None = None
        self._raised: Counter[str] = Counter()  # in the log, when the smoke test was passed

    async def smoke(self, endpoint: Endpoint, colour: str, policy: RolloutPolicy) -> str:
        """See :meth:`flows.rollout.rollout.Examiner.smoke`."""
        failed = await self._smoke(endpoint, colour)
        if not failed and policy.mirror_percent:
            self._raised = await self._exceptions(endpoint, colour)
        return failed

    async def _smoke(self, endpoint: Endpoint, colour: str) -> str:
        if not self._known.rows:
            return ""
        answer = await self._serving.score(endpoint.name, self._known.request, colour)
        if wrong := self._wrong(answer):
            return f"{colour} did not pass the smoke test: {wrong}"
        refused = await self._serving.score(endpoint.name, self._known.bad_request, colour)
        if refused.status not in REFUSED:
            return f"{colour} did not pass the smoke test: a row that is no number was answered with {refused.status}"
        return ""

    async def mirrored(self, endpoint: Endpoint, colour: str, policy: RolloutPolicy) -> str:
        """See :meth:`flows.rollout.rollout.Examiner.mirrored`.

        Nobody sees what it answers to copies. So known rows are sent to it by header, while it works on them, and its
        log is searched for exceptions that were not in it after the smoke test.
        """
        if self._known.rows:
            measured = await self._measured(endpoint, colour, policy.requests, policy.requests, by_name=True)
            if measured is not None and (fault := measured.fault(policy)):
                return f"{colour} with copies of requests: {fault}"
        new = await self._exceptions(endpoint, colour) - self._raised
        if new.total() > policy.max_error_share * policy.requests:
            return (
                f"{colour} with copies of requests: its log has {counted(new.total(), 'exception')} ({', '.join(new)})"
            )
        return ""

    async def _exceptions(self, endpoint: Endpoint, colour: str) -> Counter[str]:
        return exceptions_in(await self._serving.logs(endpoint.name, colour, LOG_LINES))

    async def check(self, endpoint: Endpoint, colour: str, share: int, policy: RolloutPolicy) -> str:
        """See :meth:`flows.rollout.rollout.Examiner.check`."""
        wanted, most = max(LEAST_ANSWERS, policy.requests * share // 100), policy.requests * MOST_TRIES
        measured = await self._measured(endpoint, colour, wanted, most)
        if measured is None:
            return f"{colour} answered none of {most} requests, though its share is {share} %"
        fault = measured.fault(policy)
        return f"{colour} at {share} % of the traffic: {fault}" if fault else ""

    async def _measured(
        self, endpoint: Endpoint, colour: str, wanted: int, most: int, *, by_name: bool = False
    ) -> Measured | None:
        """Send known rows until a deployment has answered so many; None if it answered none of ``most`` requests."""
        seconds: list[float] = []
        failed, reason = 0, ""
        for _ in range(most):
            answer = await self._serving.score(endpoint.name, self._known.request, colour if by_name else None)
            if answer.deployment not in {colour, None}:
                continue
            seconds.append(answer.seconds)
            if wrong := self._wrong(answer):
                failed, reason = failed + 1, reason or wrong
            if len(seconds) >= wanted:
                break
        self.measured = Measured(len(seconds), failed, _p99(seconds), reason) if seconds else None
        return self.measured

    def _wrong(self, answer: Answer) -> str:
        if not answer.status:
            return "the connection broke"
        if answer.status != 200:
            return f"status {answer.status}"
        return self._known.difference(answer.body) if self._known.rows else ""


def exceptions_in(logs: Mapping[str, str]) -> Counter[str]:
    """How many exceptions are in the logs of a deployment, by their kind."""
    return Counter(found["kind"] or "unknown" for text in logs.values() for found in _EXCEPTION.finditer(text))


def _p99(seconds: list[float]) -> float:
    """The 99th percentile, by the nearest rank."""
    ranked = sorted(seconds)
    return ranked[max(0, -(-99 * len(ranked) // 100) - 1)]
