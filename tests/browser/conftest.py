"""Two runs, promoted and rejected, as `make ui` shows it, and a headless Chromium to look at it with.

Every page that a test opens is photographed into `outputs/browser/`, for a person to look at.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deployments.chromium import STILL_SECONDS, chromium, find_chromium, wait_until_still
from deployments.screenshots import asked, call, served
from tests.terminal import PIPELINE, PROJECT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

PICTURES = PROJECT / "outputs" / "browser"


@dataclass(frozen=True)
class Shown:
    """A pipeline that was run and promoted, run again and rejected, and the servers that show both.

    ``rejected`` is the page that the second run names as its own in MLflow.
    """

    prefect: str
    mlflow: str
    report: Path
    profile: Path
    rejected: str

    def asked(self, kind: str, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What Prefect's API has of a kind."""
        return asked(f"{self.prefect}/api", kind, wanted)


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Generator[Shown]:
    home = tmp_path_factory.mktemp("browser")
    with served(home) as (environment, mlflow):
        call(environment, sys.executable, "-m", "deployments.deploy", "deploy")
        call(environment, sys.executable, str(PIPELINE), "--evaluation_output", str(home / "evaluation"))
        again = [sys.executable, str(PIPELINE), "--evaluation_output", str(home / "again"), "--json"]
        said = subprocess.run(again, env=environment, cwd=PROJECT, capture_output=True, check=True)
        (profile,) = home.glob("state/jobs/*/steps/profile/outputs/profile/profile.html")
        prefect = environment["PREFECT_API_URL"].removesuffix("/api")
        rejected = json.loads(said.stdout)["mlflow_page"]
        yield Shown(prefect, mlflow, home / "evaluation" / "report.html", profile, rejected)


@pytest.fixture(scope="session")
def browser() -> Generator[Browser]:
    with chromium(find_chromium()) as running:
        yield running


class Visit:
    """A page that was opened: what it logged as an error, and what it asked for besides itself."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(url, timeout=120_000)
        wait_until_still(page, 0.3 if url.startswith("file:") else STILL_SECONDS)

    @property
    def left(self) -> list[str]:
        """The requests that left the page: all but for itself and for what it holds."""
        return [url for url in self.requests if url != self.page.url and not url.startswith("data:")]

    @property
    def text(self) -> str:
        return self.page.inner_text("body")


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Open a page in a window of a width, and photograph it at the end."""
    name = re.sub(r"\W+", "-", request.node.name).strip("-")

    @contextmanager
    def opened(url: str, width: int = 1400, height: int = 1000, dark: bool = False) -> Generator[Visit]:
        size: ViewportSize = {"width": width, "height": height}
        page = browser.new_page(viewport=size, color_scheme="dark" if dark else "light")
        try:
            yield Visit(page, url)
        finally:
            PICTURES.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
            page.close()

    return opened
