"""Tests of a new deployment: known rows by header before it has traffic, then through the route at each share."""

from dataclasses import dataclass

from flows.rollout.known_rows import KnownRows
from flows.rollout.policy import RolloutPolicy
from flows.serving.endpoints import Answer, Endpoint
from flows.serving.serving import Serving

REFUSED = {400, 424}  # Azure answers 424 where the script's own status is another one than 200
LEAST_ANSWERS = 5
MOST_TRIES = 20  # times the requests of the policy, to be answered by a deployment with a small share


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

    async def smoke(self, endpoint: Endpoint, colour: str) -> str:
        """See :meth:`flows.rollout.rollout.Examiner.smoke`."""
        if not self._known.rows:
            return ""
        answer = await self._serving.score(endpoint.name, self._known.request, colour)
        if wrong := self._wrong(answer):
            return f"{colour} did not pass the smoke test: {wrong}"
        refused = await self._serving.score(endpoint.name, self._known.bad_request, colour)
        if refused.status not in REFUSED:
            return f"{colour} did not pass the smoke test: a row that is no number was answered with {refused.status}"
        return ""

    async def check(self, endpoint: Endpoint, colour: str, share: int, policy: RolloutPolicy) -> str:
        """See :meth:`flows.rollout.rollout.Examiner.check`."""
        seconds: list[float] = []
        failed, reason = 0, ""
        wanted = max(LEAST_ANSWERS, policy.requests * share // 100)
        for _ in range(policy.requests * MOST_TRIES):
            answer = await self._serving.score(endpoint.name, self._known.request)
            if answer.deployment not in {colour, None}:
                continue
            seconds.append(answer.seconds)
            if wrong := self._wrong(answer):
                failed, reason = failed + 1, reason or wrong
            if len(seconds) >= wanted:
                break
        if not seconds:
            return f"{colour} answered none of {policy.requests * MOST_TRIES} requests, though its share is {share} %"
        self.measured = Measured(len(seconds), failed, _p99(seconds), reason)
        fault = self.measured.fault(policy)
        return f"{colour} at {share} % of the traffic: {fault}" if fault else ""

    def _wrong(self, answer: Answer) -> str:
        if not answer.status:
            return "the connection broke"
        if answer.status != 200:
            return f"status {answer.status}"
        return self._known.difference(answer.body) if self._known.rows else ""


def _p99(seconds: list[float]) -> float:
    """The 99th percentile, by the nearest rank."""
    ranked = sorted(seconds)
    return ranked[max(0, -(-99 * len(ranked) // 100) - 1)]
