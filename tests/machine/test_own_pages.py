"""What foreign web pages send to the servers of this machine is refused; programs and the own pages are not."""

import asyncio
import http.client
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException

from flows.engines.local.host.tracking_server import TrackingServer
from flows.machine.own_pages import refusal
from flows.prefect_api.server import free_port
from flows.settings import PROJECT, Settings
from tests.terminal import Terminal

PORT = 4200
OWN = f"127.0.0.1:{PORT}"
LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize("host", [OWN, f"localhost:{PORT}", f"[::1]:{PORT}", f"LocalHost:{PORT}"])
def test_programs_and_own_pages_are_let_through_by_each_name(host: str) -> None:
    own = [f"http://{name}:{PORT}" for name in ("127.0.0.1", "localhost", "[::1]")]
    assert refusal("POST", [("host", host)], PORT) is None
    for origin in own:  # a page at localhost asks the API at 127.0.0.1, which is cross-site
        asked = [("host", host), ("origin", origin), ("sec-fetch-site", "cross-site")]
        assert refusal("POST", asked, PORT) is None
    assert refusal("GET", [("host", host), ("sec-fetch-site", "none")], PORT) is None
    assert refusal("GET", [("host", host), ("sec-fetch-site", "same-origin")], PORT) is None


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["evil.example"],
        [f"evil.example:{PORT}"],
        [f"127.0.0.1.evil.example:{PORT}"],
        [f"localhost.:{PORT}"],
        [f"10.0.0.1:{PORT}"],
        [f"0.0.0.0:{PORT}"],
        ["127.0.0.1"],
        ["localhost:1"],
        [f"user@127.0.0.1:{PORT}"],
        [OWN, "evil.example"],
        [f"{OWN},evil.example"],
    ],
)
def test_another_host_is_refused(hosts: list[str]) -> None:
    assert f"this server is http://{OWN}" in str(refusal("GET", [("host", host) for host in hosts], PORT))


@pytest.mark.parametrize(
    "origins",
    [
        ["https://evil.example"],
        ["null"],
        [""],
        [f"https://{OWN}"],
        ["http://127.0.0.1"],
        ["http://localhost:3000"],
        [OWN],
        ["file://"],
        [f"http://{OWN}", "https://evil.example"],
        [f"http://{OWN}.evil.example"],
        ["http://10.evil.example"],
    ],
)
def test_another_origin_is_refused_whatever_it_asks_for(origins: list[str]) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        said = [("host", OWN), *LINK.items(), *(("origin", origin) for origin in origins)]
        assert "a web page of" in str(refusal(method, said, PORT))


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("POST", {}),
        ("GET", {"sec-fetch-dest": "iframe"}),
        ("GET", {"sec-fetch-dest": "image", "sec-fetch-mode": "no-cors"}),
        ("GET", {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"}),
        ("GET", {"sec-fetch-mode": "websocket"}),
    ],
)
def test_of_another_page_that_names_no_origin_only_a_link_is_followed(method: str, changes: Mapping[str, str]) -> None:
    assert refusal("GET", [("host", OWN), *LINK.items()], PORT) is None
    assert "from elsewhere" in str(refusal(method, [("host", OWN), *{**LINK, **changes}.items()], PORT))


def test_port_that_browsers_leave_out_may_be_left_out() -> None:
    assert refusal("GET", [("host", "localhost"), ("origin", "http://localhost")], 80) is None
    assert refusal("GET", [("host", "localhost:80")], 80) is None


def test_temporary_prefect_server_refuses_foreign_pages(prefect_server: str) -> None:
    refuses_foreign_pages(prefect_server, "/api/flows/filter", "/api/events/out")


def test_tracking_server_of_steps_refuses_foreign_pages(tmp_path: Path) -> None:
    async def asked() -> None:
        settings = Settings.from_environment({"TANDEM_HOME": str(tmp_path)})
        environment = dict(Terminal(tmp_path, None).environment)
        server = TrackingServer(settings, environment)
        try:
            await asyncio.to_thread(refuses_foreign_pages, server.url, "/graphql")
        finally:
            await server.end()

    asyncio.run(asked())


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """The ports of both servers of ``tandem ui``."""
    ports = free_port(), free_port()
    words = ("ui", "--prefect-port", str(ports[0]), "--mlflow-port", str(ports[1]))
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", *words], env=Terminal(tmp_path, None).environment, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        for _ in range(4):
            process.stdout.readline()
        yield ports
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@pytest.mark.slow
def test_both_servers_of_ui_refuse_foreign_pages_and_show_their_own(served: tuple[int, int]) -> None:
    prefect, mlflow = (f"http://127.0.0.1:{port}" for port in served)
    refuses_foreign_pages(prefect, "/api/flows/filter", "/api/events/out")
    refuses_foreign_pages(mlflow, "/graphql")
    for url in (prefect, mlflow):
        status, page = asked(url, "GET", "/", {"sec-fetch-site": "none"})
        assert status in (200, 307), page
    # Prefect's page at either name asks the API by the other one, with a preflight.
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    assert (
        asked(prefect, "OPTIONS", "/api/flows/filter", {"Origin": f"http://localhost:{served[0]}", **preflight})[0]
        == 200
    )


def test_nothing_of_ours_listens_but_by_way_of_the_one_function() -> None:
    files = [*PROJECT.glob("flows/**/*.py"), *PROJECT.glob("deployments/**/*.py"), *PROJECT.glob("aml_steps/**/*.py")]
    starts = (
        "uvicorn.run(",
        "uvicorn.Server",
        ".listen(",
        "HTTPServer(",
        "start_server(",
        '"server", "start"',
        "TCPServer(",
    )
    found = {path.name for path in files for text in [path.read_text()] if any(each in text for each in starts)}
    # An endpoint's supervisor opens the port for its router, which serves by that function too. The worker behind it
    # listens at a socket in a folder of its user.
    assert found == {"own_pages.py", "supervisor.py", "worker.py"}


def refuses_foreign_pages(url: str, changing: str, websocket: str | None = None) -> None:
    """See what a server makes of requests as foreign pages send them, and of its own.

    Args:
        url: Any address of the server.
        changing: A path that takes a JSON object by POST.
        websocket: The path of a websocket, if there is one.
    """
    port = urlsplit(url).port
    own, evil = f"127.0.0.1:{port}", "http://evil.example"
    for headers in (
        {"Origin": evil, "Content-Type": "text/plain"},  # of a form: no browser asks before it sends that
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Host": f"evil.example:{port}"},
        {"Host": f"10.evil.example:{port}", "Origin": f"http://10.evil.example:{port}"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ):
        for method, path in (("POST", changing), ("GET", "/health"), ("OPTIONS", changing)):
            status, text = asked(url, method, path, headers)
            assert (status, text.partition(":")[0]) == (403, "Refused"), (headers, method, text)
        assert handshake(own, websocket or "/", headers) == 403
    for headers in (
        {},
        {"Origin": f"http://{own}"},
        {"Origin": f"http://localhost:{port}", "Host": f"localhost:{port}"},
    ):
        status, text = asked(url, "POST", changing, {"Content-Type": "application/json", **headers})
        assert status != 403, text
        if websocket is not None:
            assert handshake(own, websocket, headers) == 101


def asked(url: str, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
    """The status and text of an answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    connection.request(method, path, None if method != "POST" else b"{}", dict(headers))
    answer = connection.getresponse()
    text = answer.read().decode(errors="replace")
    connection.close()
    return answer.status, text


def handshake(place: str, path: str, headers: Mapping[str, str]) -> int:
    """The status of an answer to a websocket's handshake; 101 if it is open."""

    async def shake() -> int:
        named = dict(headers)
        host = named.pop("Host", place)
        try:
            target, port = place.split(":")
            async with connect(
                f"ws://{host}{path}",
                host=target,
                port=int(port),
                additional_headers=named,
                proxy=None,
                subprotocols=["prefect"],  # pyright: ignore[reportArgumentType]
            ):
                return 101
        except InvalidStatus as error:
            return error.response.status_code
        except WebSocketException as error:
            raise AssertionError(f"{place}{path}: {error!r}") from error

    return asyncio.run(shake())
