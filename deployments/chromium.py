"""A headless Chromium, spoken to over a pipe in the DevTools protocol: no driver and no library is needed for it."""

import base64
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from flows.errors import ServiceError, SettingsError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
DEADLINE_SECONDS = 120.0  # for one answer, and for a page until it is still
STILL_SECONDS = 4.0  # so long a page's text must be the same until it counts as complete
LOOK_SECONDS = 0.3
_ON_A_PIPE = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null'  # where Chromium expects its pipe


def find_chromium() -> str:
    """The Chromium of this machine.

    Raises:
        SettingsError: There is none.
    """
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise SettingsError("There is no Chromium on the PATH. Nothing was done. Install it: apt-get install chromium")


class Chromium:
    """A running Chromium with one page."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        self._requests = requests
        self._answers = answers
        self._read = b""
        self._ids = itertools.count(1)
        self._session: str | None = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def photograph(self, url: str, size: tuple[int, int], picture: Path) -> None:
        """Write a picture of a page as it is once its text does not change any more.

        Raises:
            ServiceError: The browser ended, does not answer or refuses.
        """
        width, height = size
        # From an empty page on: an address that differs only after its # would not be loaded anew.
        self._call("Page.navigate", url="about:blank")
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        failed = self._call("Page.navigate", url=url).get("errorText")
        if failed:
            raise ServiceError(f"Chromium cannot show {url}: {failed}")
        self._wait_until_still()
        picture.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _wait_until_still(self) -> None:
        text, since, end = "", time.monotonic(), time.monotonic() + DEADLINE_SECONDS
        while (now := time.monotonic()) < end and (not text or now - since < STILL_SECONDS):
            time.sleep(LOOK_SECONDS)
            shown = self._call("Runtime.evaluate", expression="document.body?.innerText ?? ''")["result"]["value"]
            if shown != text:
                text, since = shown, time.monotonic()

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        id = next(self._ids)
        session = {} if self._session is None else {"sessionId": self._session}
        try:
            self._requests.write(json.dumps({"id": id, "method": method, "params": params, **session}).encode() + b"\0")
            self._requests.flush()
        except BrokenPipeError:
            raise ServiceError("Chromium has ended.") from None
        while (answer := self._next()).get("id") != id:
            pass  # an event
        if "error" in answer:
            raise ServiceError(f"Chromium refuses {method}: {answer['error']['message']}")
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            if not select.select([self._answers], [], [], DEADLINE_SECONDS)[0]:
                raise ServiceError(f"Chromium has not answered for {DEADLINE_SECONDS:g} s.")
            chunk = os.read(self._answers.fileno(), 1 << 16)
            if not chunk:
                raise ServiceError("Chromium has ended.")
            self._read += chunk
        message, _, self._read = self._read.partition(b"\0")
        return json.loads(message)


@contextmanager
def chromium(program: str) -> Generator[Chromium]:
    """A Chromium for as long as the block lasts, with nothing of any other."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            ["sh", "-c", _ON_A_PIPE, "sh", program, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            yield Chromium(process.stdin, process.stdout)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
            with suppress(BrokenPipeError):
                process.stdin.close()
