"""The pictures of the README, and the browser that takes them; without a browser, by one that only pretends."""

import sys
import textwrap
from pathlib import Path

import pytest

from deployments.chromium import Chromium, chromium
from deployments.screenshots import SHOWN
from flows.errors import ServiceError
from tests.deployments.station import Station
from tests.processes import commands_with
from tests.terminal import PROJECT

PNG = b"\x89PNG\r\n\x1a\n"


def pretender(folder: Path, answer: str) -> str:
    """A program that answers each request as Chromium would on its pipe; ``answer`` is an expression of Python."""
    program = folder / "chromium"
    program.write_text(
        textwrap.dedent(f"""\
            #!{sys.executable}
            import base64, json, os
            known = {{
                "Target.createTarget": {{"targetId": "T"}},
                "Target.attachToTarget": {{"sessionId": "S"}},
                "Runtime.evaluate": {{"result": {{"value": "a page"}}}},
                "Page.captureScreenshot": {{"data": base64.b64encode({PNG!r}).decode()}},
            }}
            read = b""
            while chunk := os.read(3, 65536):
                *asked, read = (read + chunk).split(b"\\0")
                for request in map(json.loads, asked):
                    method = request["method"]
                    event = {{"method": "Some.event", "params": {{}}}}
                    for said in (event, {{"id": request["id"], **({answer})}}):
                        os.write(4, json.dumps(said).encode() + b"\\0")
            """)
    )
    program.chmod(0o755)
    return str(program)


@pytest.fixture(autouse=True)
def soon_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.chromium.STILL_SECONDS", 0.1)
    monkeypatch.setattr("deployments.chromium.LOOK_SECONDS", 0.05)


def photographed(browser: Chromium, picture: Path) -> bytes:
    browser.photograph("http://127.0.0.1:1/", (800, 600), picture)
    return picture.read_bytes()


def test_page_that_is_still_is_photographed_and_the_browser_ended(tmp_path: Path) -> None:
    program = pretender(tmp_path, '{"result": known.get(method, {})}')
    with chromium(program) as browser:
        assert commands_with(program)
        assert photographed(browser, tmp_path / "page.png") == PNG
        assert photographed(browser, tmp_path / "next.png") == PNG
    assert not commands_with(program)


def test_page_that_cannot_be_shown_is_named(tmp_path: Path) -> None:
    refused = '{"errorText": "net::ERR_CONNECTION_REFUSED"} if method == "Page.navigate" else known.get(method, {})'
    with (
        chromium(pretender(tmp_path, f'{{"result": {refused}}}')) as browser,
        pytest.raises(ServiceError, match=r"cannot show http://127\.0\.0\.1:1/: net::ERR_CONNECTION_REFUSED"),
    ):
        photographed(browser, tmp_path / "page.png")


def test_refusal_and_end_of_the_browser_are_told(tmp_path: Path) -> None:
    refuses = pretender(tmp_path, '{"error": {"message": "not so"}}')
    with pytest.raises(ServiceError, match=r"refuses Target\.createTarget: not so"), chromium(refuses):
        pass
    with pytest.raises(ServiceError, match="has ended"), chromium("/bin/false"):
        pass


def test_without_a_browser_nothing_is_started_and_it_is_said_how_to_install_one(tmp_path: Path) -> None:
    station = Station(tmp_path, "http://127.0.0.1:1/api")
    done = station.run(sys.executable, "-m", "deployments.screenshots", environment={"PATH": str(tmp_path)})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: There is no Chromium on the PATH. Nothing was done. Install it: apt-get install chromium\n"
    )


def test_readme_shows_each_picture_and_none_is_large() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    pictures = sorted(SHOWN.glob("*.png"))
    assert [picture.name for picture in pictures] == ["flow-run.png", "summary.png"]
    for picture in pictures:
        assert f"]({picture.relative_to(PROJECT)})" in readme
        assert picture.read_bytes().startswith(PNG) and picture.stat().st_size < 250_000
