"""The pictures of README and docs; that they can be taken is seen in `tests/browser`."""

import sys
from pathlib import Path

from deployments.screenshots import SHOWN
from tests.deployments.station import Station
from tests.terminal import PROJECT

PNG = b"\x89PNG\r\n\x1a\n"


def test_without_a_browser_nothing_is_started_and_it_is_said_how_to_install_one(tmp_path: Path) -> None:
    station = Station(tmp_path, "http://127.0.0.1:1/api")
    done = station.run(sys.executable, "-m", "deployments.screenshots", environment={"PATH": str(tmp_path)})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: There is no Chromium on the PATH. Nothing was done. Install it: apt-get install chromium\n"
    )


def test_each_picture_is_shown_and_none_is_large() -> None:
    readme, serving = ((PROJECT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/serving.md"))
    pictures = sorted(SHOWN.glob("*.png"))
    assert [picture.name for picture in pictures] == ["flow-run.png", "rollout.png", "summary.png"]
    for picture in pictures:
        shown = str(picture.relative_to(PROJECT))
        assert f"]({shown})" in readme or f"](../{shown})" in serving
        assert picture.read_bytes().startswith(PNG) and picture.stat().st_size < 250_000
