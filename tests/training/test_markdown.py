"""What a page in Markdown shows of a text that someone else wrote: the text."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.training.markdown import code, code_block, plain


@pytest.mark.parametrize("text", ["diabetes-model version 2, alias champion", "0.9321", "a_b (c.csv) +0.01", "→ – 5 %"])
def test_plain_words_and_figures_stay_readable(text: str) -> None:
    assert plain(text) == text


@given(st.text())
def test_text_begins_neither_markup_nor_html_nor_a_cell(text: str) -> None:
    shown = plain(text)
    assert not re.search(r"[\\`*\[\]<>|~$\n\r]", shown)
    assert html.unescape(shown) == " ".join(text.split())


@pytest.mark.parametrize("text", ["a", "a`b", "``", "`a"])
def test_code_ends_where_the_text_does(text: str) -> None:
    fence = re.match("`+", code(text))
    assert fence is not None
    assert code(text)[len(fence[0]) : -len(fence[0])].strip() == text
    assert fence[0] not in re.findall("`+", text)


def test_a_block_of_code_ends_where_the_text_does() -> None:
    assert code_block("a") == "```\na\n```"
    assert code_block("a\n```\n<b>") == "````\na\n```\n<b>\n````"
