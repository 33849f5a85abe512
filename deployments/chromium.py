"""Pages in a headless Chromium of this machine, driven by Playwright."""

import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flows.errors import ServiceError, SettingsError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Beyond what Playwright sets: no telemetry and no look for updates, on a machine whose network may be closed.
FLAGS = ("--disable-gpu", "--disable-quic", "--disable-component-update", "--disable-sync", "--hide-scrollbars")
DEADLINE_SECONDS = 120.0  # for one answer, and for a page until it is still
STILL_SECONDS = 4.0  # how long a page's text must stay the same to count as complete
LOOK_SECONDS = 0.3


def find_chromium() -> str:
    """The Chromium of this machine.

    Raises:
        SettingsError: There is none.
    """
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise SettingsError("There is no Chromium on the PATH. Nothing was done. Install it: apt-get install chromium")


@contextmanager
def chromium(program: str) -> Generator["Browser"]:
    """A Chromium for as long as the block lasts, with a profile of its own.

    Raises:
        ServiceError: It does not start.
    """
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=program, args=FLAGS, timeout=DEADLINE_SECONDS * 1000)
        except Error as error:
            raise ServiceError(f"Chromium does not start: {_first_line(error)}") from error
        try:
            yield browser
        finally:
            browser.close()


def photograph(browser: "Browser", url: str, size: tuple[int, int], picture: Path) -> None:
    """Write a picture of a page as it is once its text does not change any more.

    Args:
        browser: The browser.
        url: The page.
        size: Width and height of the picture, in pixels.
        picture: The PNG file.

    Raises:
        ServiceError: The browser has ended, or cannot show the page.
    """
    from playwright.sync_api import Error

    width, height = size
    try:
        page = browser.new_page(viewport={"width": width, "height": height})
        try:
            page.goto(url, timeout=DEADLINE_SECONDS * 1000)
            wait_until_still(page)
            page.screenshot(path=picture)
        finally:
            page.close()
    except Error as error:
        raise ServiceError(f"Chromium cannot show {url}: {_first_line(error)}") from error


def wait_until_still(page: "Page", seconds: float = STILL_SECONDS) -> None:
    """Return when the text of a page has not changed for so many seconds, or at the deadline."""
    text, since, end = "", time.monotonic(), time.monotonic() + DEADLINE_SECONDS
    while (now := time.monotonic()) < end and (not text or now - since < seconds):
        page.wait_for_timeout(LOOK_SECONDS * 1000)
        shown: str = page.evaluate("document.body?.innerText ?? ''")
        if shown != text:
            text, since = shown, time.monotonic()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
