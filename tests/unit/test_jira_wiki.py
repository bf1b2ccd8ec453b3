"""Slack's text in the wiki notation of Jira Data Center."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.text.slack_text import parse
from worker.text.wiki import wiki


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("one\ntwo\n\nthree", "one\ntwo\n\nthree"),
        ("*bold* _it_ ~no~ `code`", "{*}bold{*} {_}it{_} {-}no{-} {{code}}"),
        ("well-known? yes - or no", "well-known? yes \\- or no"),
        ("a [link] {macro} | h^2^ !image.png!", r"a \[link\] \{macro\} \| h\^2\^ \!image.png\!"),
        ("# no heading\nh1. nor this\nbq. or that", "\\# no heading\nh1&#46; nor this\nbq&#46; or that"),
        ("back\\slash &amp;lt; ??cite??", r"back&#92;slash &amp;lt; \?\?cite\?\?"),
        ("<https://x.y/a|[a|b]>", r"[\[a\|b\]|https://x.y/a]"),
        ("https://x.y/a_b.", "[https://x.y/a_b]."),
        ("<https://x.y/a[1]{2}|z>", "[z|https://x.y/a%5B1%5D%7B2%7D]"),
        ("- a\n- *b*", "* a\n* {*}b{*}"),
        ("&gt; a\n&gt; b", "{quote}\na\nb\n{quote}"),
        ("```\na *b* {code}\n```", "{noformat}\na *b* {code}\n{noformat}"),
    ],
)
def test_notation(text: str, expected: str) -> None:
    """Links, code and marks are kept, and other characters of the wiki's notation are escaped."""
    assert wiki(parse(text)) == expected


@given(text=st.text(max_size=200))
def test_code_cannot_break_out(text: str) -> None:
    """Preformatted text ends where it ended in Slack."""
    inside = text.replace("`", "") + "{noformat}"
    assert wiki(parse(f"```{inside}```")).count("{noformat}") == 2


@given(text=st.text())
def test_any_text_is_written(text: str) -> None:
    """No written text has a character that Jira refuses."""
    assert not set(wiki(parse(text))) & {"\x00", "\x07", "\x1b", "\ufffe"}
