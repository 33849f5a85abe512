"""Words of messages: counts, articles and the nearest right name."""

import pytest

from flows.spec.text.words import a, counted, did_you_mean


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [(0, "step", "0 steps"), (1, "step", "1 step"), (2, "data input", "2 data inputs"), (2, "process", "2 processes")],
)
def test_a_count_has_its_noun_in_the_right_number(number: int, noun: str, words: str) -> None:
    assert counted(number, noun) == words


def test_a_noun_has_its_article() -> None:
    assert [a(noun) for noun in ("integer", "uri_file", "mltable")] == ["an integer", "a uri_file", "an mltable"]


def test_the_nearest_name_is_proposed_in_its_own_case_or_none() -> None:
    assert did_you_mean("cels", ["cells", "rows"]) == "Did you mean cells?"
    assert did_you_mean("CELS", ["Cells", "rows"]) == "Did you mean Cells?"
    assert did_you_mean("xyz", ["cells", "rows"]) == ""
    assert did_you_mean("cels", []) == ""
