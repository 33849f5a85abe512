"""Choice of a deployment by shares of the traffic. Pure, but for what was chosen before."""

import hashlib
from collections.abc import Mapping


class Shares:
    """Chooses by weights, evenly: of any 100 requests in a row, each deployment gets its percentage.

    This is the smooth weighted round robin of nginx (``ngx_http_upstream_round_robin.c``).
    """

    def __init__(self) -> None:
        self._weights: dict[str, int] = {}
        self._current: dict[str, int] = {}

    def choose(self, weights: Mapping[str, int]) -> str | None:
        """The next deployment; None where none has a share."""
        if weights != self._weights:
            self._weights = dict(weights)
            self._current = {name: 0 for name, weight in weights.items() if weight > 0}
        if not self._current:
            return None
        for name in self._current:
            self._current[name] += self._weights[name]
        chosen = max(self._current, key=lambda name: self._current[name])
        self._current[chosen] -= sum(self._weights[name] for name in self._current)
        return chosen


def of_session(session: str, weights: Mapping[str, int]) -> str | None:
    """The deployment of a session: the same one as long as the shares stay; None where none has a share."""
    having = sorted((name, weight) for name, weight in weights.items() if weight > 0)
    if not having:
        return None
    place = int.from_bytes(hashlib.sha256(session.encode()).digest()[:8]) % sum(weight for _, weight in having)
    for name, weight in having:
        place -= weight
        if place < 0:
            return name
    raise AssertionError
