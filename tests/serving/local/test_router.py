"""The router's HTTP: headers, pages, whom it refuses, and what it never tells."""

import asyncio
import json
import socket
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from flows.serving.local.adapter import LocalServing
from flows.serving.local.files import StoredEndpoint
from flows.serving.local.pages import columns_of, openapi
from tests.processes import commands_with
from tests.serving.conftest import local_place
from tests.serving.scripts import ENDPOINT, Definitions, asking
from tests.waiting import until


@dataclass(frozen=True)
class Served:
    """Two deployments, blue with 75 % of the requests, and whoever asks them."""

    serving: LocalServing
    address: str
    key: str
    home: Path
    client: httpx.Client

    @property
    def root(self) -> str:
        return self.address.partition("/endpoints/")[0]

    def post(self, body: bytes = asking(), **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        headers = {"authorization": f"Bearer {self.key}", **named}
        return self.client.post(self.address, content=body, headers=headers)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("router")
    definitions = Definitions(folder / "serving")

    async def deploy(serving: LocalServing) -> tuple[str, str]:
        endpoint = await serving.create_endpoint(definitions.endpoint)
        await asyncio.gather(*(serving.deploy(definitions.request(name, n + 1)) for n, name in enumerate(NAMES)))
        await serving.set_traffic(ENDPOINT, {"blue": 75, "green": 25})
        return endpoint.scoring_uri or "", await serving.key(ENDPOINT)

    with local_place(folder) as serving:
        assert isinstance(serving, LocalServing)
        address, key = asyncio.run(deploy(serving))
        with httpx.Client() as client:
            yield Served(serving, address, key, folder / "home", client)


NAMES = ("blue", "green")


def test_an_answer_names_its_deployment_and_gives_the_id_of_the_request_back(served: Served) -> None:
    answer = served.post(x_request_id="r-17", azureml_model_deployment="green")
    assert (answer.status_code, answer.headers["azureml-model-deployment"]) == (200, "green")
    assert answer.headers["x-request-id"] == "r-17"
    assert len(served.post().headers["x-request-id"]) == 32


def test_of_any_hundred_requests_each_deployment_gets_its_percentage(served: Served) -> None:
    counted = Counter(served.post().headers["azureml-model-deployment"] for _ in range(100))
    assert counted == {"blue": 75, "green": 25}


def test_a_session_stays_with_one_deployment(served: Served) -> None:
    chosen: dict[str, set[str]] = {}
    for number in range(40):
        name = f"s{number % 10}"
        answer = served.post(azureml_model_session=name)
        assert answer.headers["azureml-model-session"] == name
        chosen.setdefault(name, set()).add(answer.headers["azureml-model-deployment"])
    assert all(len(found) == 1 for found in chosen.values())
    assert set.union(*chosen.values()) == set(NAMES)


def test_what_the_script_refuses_has_the_headers_of_azure_ml(served: Served) -> None:
    refused = served.post(asking(bad=True))
    assert refused.status_code == 424
    assert refused.headers["ms-azureml-model-error-statuscode"] == "400"
    assert refused.json()["error"]["row"] == 0


def test_paths_methods_and_sizes_that_cannot_be_are_refused(served: Served) -> None:
    taken = {"authorization": f"Bearer {served.key}"}
    assert httpx.post(f"{served.root}/endpoints/other/score", headers=taken).status_code == 404
    assert httpx.post(f"{served.root}/endpoints/..%2f..%2fserving/score", headers=taken).status_code == 404
    assert httpx.get(served.address, headers=taken).status_code == 405
    assert httpx.get(f"{served.root}/elsewhere").status_code == 404
    assert served.post(b"x" * ((10 << 20) + 1)).status_code == 413
    assert served.post(azureml_model_deployment="../blue").status_code == 404


def test_clients_that_are_slow_or_send_too_much_or_go_away_do_not_keep_others_waiting(served: Served) -> None:
    port = int(served.root.rpartition(":")[2])
    path = f"/endpoints/{ENDPOINT}/score"
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {served.key}\r\n"

    def begun(text: str) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        connection.sendall(text.encode())
        return connection

    def ended_early() -> int:
        line = f'tandem_requests_total{{endpoint="{ENDPOINT}",deployment="",status="400"}} '
        found = [each for each in httpx.get(f"{served.root}/metrics").text.splitlines() if each.startswith(line)]
        return int(found[0].rpartition(" ")[2]) if found else 0

    with ExitStack() as stack:
        for _ in range(20):  # of which no one ever ends its request
            stack.enter_context(begun(head))
            stack.enter_context(begun(f"{head}Content-Length: 100\r\n\r\n{{"))
            large = stack.enter_context(begun(f"{head}Content-Length: {1 << 40}\r\n\r\n"))
            large.sendall(bytes(1 << 16))
            assert large.recv(12) == b"HTTP/1.1 413"
        for body in (b"{", b"\xff\xfe", b"", b"[" * 100_000):
            assert served.post(body).status_code == 424
        assert [served.post().status_code for _ in range(20)] == [200] * 20
        before = ended_early()
        begun(f"{head}Content-Length: 100\r\n\r\n{asking(says='half').decode()}").close()
        until(lambda: ended_early() == before + 1)
    for name in NAMES:
        assert "asked by half" not in "".join(asyncio.run(served.serving.logs(ENDPOINT, name)).values())


def test_what_web_pages_from_elsewhere_send_is_refused(served: Served) -> None:
    assert served.post(origin="http://evil.example").status_code == 403
    assert served.post(host="evil.example").status_code == 403


def test_health_metrics_and_the_page_need_no_key_and_tell_what_there_is(served: Served) -> None:
    assert httpx.get(f"{served.root}/health").json() == {"status": "ok"}
    served.post(azureml_model_deployment="green")
    metrics = httpx.get(f"{served.root}/metrics").text
    assert f'tandem_requests_total{{endpoint="{ENDPOINT}",deployment="green",status="200"}}' in metrics
    assert f'tandem_request_seconds_count{{endpoint="{ENDPOINT}",deployment="green"}}' in metrics
    assert 'tandem_requests_in_flight{endpoint="patients",deployment="green"} 0' in metrics
    page = httpx.get(served.root).text
    assert "blue: Succeeded, 75 % of the requests" in page and served.key not in page
    assert httpx.get(f"{served.root}/endpoints/{ENDPOINT}/swagger.json").json()["info"]["title"] == ENDPOINT


def test_the_description_of_an_endpoint_has_the_columns_of_its_model(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    inputs = json.dumps([{"name": "Age", "type": "long", "required": True}, {"name": "BMI", "type": "any"}])
    (tmp_path / "model" / "MLmodel").write_text(f"signature:\n  inputs: '{inputs}'\n")
    said = openapi(StoredEndpoint("patients", 0.0), columns_of(tmp_path))
    body = said["paths"]["/endpoints/patients/score"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    row = body["properties"]["input_data"]["oneOf"][1]["items"]
    assert row["properties"] == {"Age": {"type": "integer"}, "BMI": {}}
    assert row["required"] == ["Age", "BMI"]


def test_the_key_is_in_one_file_that_only_its_user_can_read_and_nowhere_else(served: Served) -> None:
    served.post(asking(raises=True))
    key = served.home / "serving" / ENDPOINT / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    having = [file for file in served.home.rglob("*") if file.is_file() and served.key in file.read_text("latin-1")]
    assert having == [key]
    assert not commands_with(served.key)


def test_what_the_endpoints_keep_can_be_read_by_nobody_else(served: Served) -> None:
    served.post(asking(says="patient"))
    assert stat.S_IMODE((served.home / "serving").stat().st_mode) == 0o700


def test_no_body_is_in_a_log(served: Served) -> None:
    served.post(asking(bad=True, patient="1234-5678"))
    served.post(asking(raises=True, patient="1234-5678"))
    assert not [log for log in served.home.rglob("*.log") if "1234-5678" in log.read_text()]
    assert not asyncio.run(served.serving.logs(ENDPOINT, "blue"))["inference-server"].count("1234-5678")
