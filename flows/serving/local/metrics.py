"""Counters of a router in the text format of Prometheus."""

from collections import Counter
from collections.abc import Iterator, Mapping

BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """What was answered, by endpoint, deployment and status, and how long that took."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: Counter[tuple[str, str, float]] = Counter()
        self._seconds: Counter[tuple[str, str]] = Counter()

    def observe(self, endpoint: str, deployment: str, status: int, seconds: float) -> None:
        """Count an answer. The deployment is empty where none was chosen."""
        self._requests[endpoint, deployment, status] += 1
        self._seconds[endpoint, deployment] += seconds  # pyright: ignore[reportArgumentType] (a counter of floats)
        for bound in BUCKETS_SECONDS:
            if seconds <= bound:
                self._buckets[endpoint, deployment, bound] += 1

    def text(self, in_flight: Mapping[tuple[str, str], int]) -> str:
        """All of them.

        Args:
            in_flight: The requests that are being answered, by endpoint and deployment.
        """
        return "\n".join([*self._lines(in_flight), ""])

    def _lines(self, in_flight: Mapping[tuple[str, str], int]) -> Iterator[str]:
        yield "# HELP tandem_requests_total Requests that were answered."
        yield "# TYPE tandem_requests_total counter"
        for (endpoint, deployment, status), count in sorted(self._requests.items()):
            yield f'tandem_requests_total{{{_labels(endpoint, deployment)},status="{status}"}} {count}'
        yield "# HELP tandem_request_seconds Time from a request to its answer."
        yield "# TYPE tandem_request_seconds histogram"
        for (endpoint, deployment), seconds in sorted(self._seconds.items()):
            labels = _labels(endpoint, deployment)
            for bound in BUCKETS_SECONDS:
                count = self._buckets[endpoint, deployment, bound]
                yield f'tandem_request_seconds_bucket{{{labels},le="{bound:g}"}} {count}'
            answered = sum(n for (of, by, _), n in self._requests.items() if (of, by) == (endpoint, deployment))
            yield f'tandem_request_seconds_bucket{{{labels},le="+Inf"}} {answered}'
            yield f"tandem_request_seconds_sum{{{labels}}} {seconds:.6f}"
            yield f"tandem_request_seconds_count{{{labels}}} {answered}"
        yield "# HELP tandem_requests_in_flight Requests that are being answered."
        yield "# TYPE tandem_requests_in_flight gauge"
        for (endpoint, deployment), count in sorted(in_flight.items()):
            yield f"tandem_requests_in_flight{{{_labels(endpoint, deployment)}}} {count}"


def _labels(endpoint: str, deployment: str) -> str:
    return f'endpoint="{endpoint}",deployment="{deployment}"'
