"""The pages that the steps write, on a phone, a tablet and a desk, by day and by night."""

from typing import Any

import pytest

from tests.browser.conftest import Shown

BACKGROUND = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 820, 1400])
@pytest.mark.parametrize("which", ["report", "profile"])
def test_page_is_whole_by_itself_and_fits_its_window(
    visit: Any, shown: Shown, which: str, width: int, dark: bool
) -> None:
    file = getattr(shown, which)
    with visit(file.as_uri(), width, dark=dark) as seen:
        assert seen.errors == []
        assert seen.left == []
        wide: tuple[int, int] = seen.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], "the page scrolls sideways"
        images: list[tuple[str, int]] = seen.page.evaluate("[...document.images].map(i => [i.alt, i.naturalWidth])")
        assert images and all(alt.strip() and loaded for alt, loaded in images)
        light = sum(seen.page.evaluate(BACKGROUND)) / 3
        assert light < 80 if dark else light > 200
