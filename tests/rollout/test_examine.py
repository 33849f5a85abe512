"""What is looked at of a deployment that gets copies of requests, on the endpoints of this machine."""

import asyncio
from pathlib import Path

from flows.rollout.examine import EndpointExaminer, exceptions_in
from flows.rollout.known_rows import KnownRows
from flows.rollout.policy import RolloutPolicy
from flows.serving.endpoints import Endpoint
from flows.serving.serving import Serving
from tests.serving.conftest import local_place
from tests.serving.scripts import ENDPOINT, Definitions, asking
from tests.waiting import until

POLICY = RolloutPolicy(mirror_percent=50, requests=5)
LOG = """\
listening
2026-11-29 10:00:00 E Encountered Exception: Traceback (most recent call last):
  File "score.py", line 3, in run
    raise ValueError(row)

sklearn.exceptions.NotFittedError: Age 51 of patient 1234
ready
Traceback (most recent call last):
  File "score.py", line 4, in run
KeyError: 'Age'
"""


def test_exceptions_of_a_log_are_counted_by_their_kind_without_what_they_say() -> None:
    logs = {"inference-server": LOG, "storage-initializer": "done"}
    assert exceptions_in(logs) == {"sklearn.exceptions.NotFittedError": 1, "KeyError": 1}


def test_deployment_fails_with_copies_of_requests_if_its_log_has_exceptions_since_the_smoke_test(
    tmp_path: Path,
) -> None:
    definitions = Definitions(tmp_path / "serving")

    async def deployed(serving: Serving) -> Endpoint:
        await serving.create_endpoint(definitions.endpoint)
        await serving.deploy(definitions.request("blue", 1))
        await serving.deploy(definitions.request("green", 2))
        await serving.score(ENDPOINT, asking(raises=True), "green")  # before the smoke test: it does not count
        await serving.set_traffic(ENDPOINT, {"blue": 100}, {"green": POLICY.mirror_percent})
        endpoint = await serving.endpoint(ENDPOINT)
        assert endpoint is not None
        return endpoint

    with local_place(tmp_path) as serving:
        endpoint, examiner = asyncio.run(deployed(serving)), EndpointExaminer(serving, KnownRows())
        assert asyncio.run(examiner.smoke(endpoint, "green", POLICY)) == ""
        assert asyncio.run(examiner.mirrored(endpoint, "green", POLICY)) == ""
        for _ in range(2):  # of which one is copied
            assert asyncio.run(serving.score(ENDPOINT, asking(raises=True))).deployment == "blue"
        failed = until(lambda: asyncio.run(examiner.mirrored(endpoint, "green", POLICY)))
        assert failed == "green with copies of requests: its log has 1 exception (KeyError)"
