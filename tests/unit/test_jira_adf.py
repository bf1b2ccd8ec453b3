"""Slack's text as an Atlassian document."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from worker.text.adf import document
from worker.text.slack_text import one_line, parse

# Read at import, because tests run without the shell's settings.
FOLDER = os.environ.get("THREADSYNC_TEST_DATA")

PIECES = st.sampled_from(
    [
        *"*_~`<>|&;#@!- \n\t\r\x00\x07\ud800\ufffea1é😀",
        *("```", "\n\n", "&lt;", "&gt;", "&amp;", "\n- ", "\n• ", "\n* ", "\n> ", "\n&gt; ", " *bold* "),
        *("_it_", "~no~", "`code`", "<https://x.y/z|label>", "<https://x.y>", "https://x.y/a_b.", "<@U1>"),
        *("<#C1|general>", "<!here>", "<mailto:a@b.c|a@b.c>", "<vec>", "<|>", "<https://|>", "javascript:x"),
    ]
)
TEXTS = st.text() | st.lists(PIECES).map("".join)


def blocks(text: str) -> Any:
    return document(parse(text))["content"]


def line(text: str) -> Any:
    (paragraph,) = blocks(text)
    return paragraph["content"]


def text_node(text: str, *marks: str, href: str | None = None) -> dict[str, Any]:
    all_marks: list[dict[str, Any]] = [{"type": "link", "attrs": {"href": href}}] if href else []
    all_marks += [{"type": mark} for mark in marks]
    return {"type": "text", "text": text, **({"marks": all_marks} if all_marks else {})}


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("content", ()):
        yield from nodes(child)


@functools.cache
def schema() -> Draft4Validator:
    path = Path(FOLDER or "") / "jira" / "adf-schema-v1.full.json"
    return Draft4Validator(json.loads(path.read_text(encoding="utf-8")))


def test_paragraphs_and_lines() -> None:
    """A blank line separates paragraphs, a line break stays one, and blank space is dropped."""
    first, second = blocks("\n\none\r\ntwo\n  \n\nthree\n")
    assert first["content"] == [text_node("one"), {"type": "hardBreak"}, text_node("two")]
    assert second["content"] == [text_node("three")]
    assert document(parse(" \n\n\t")) == {"type": "doc", "version": 1, "content": []}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a *b* c", [text_node("a "), text_node("b", "strong"), text_node(" c")]),
        ("_i_", [text_node("i", "em")]),
        ("~s~.", [text_node("s", "strike"), text_node(".")]),
        ("`x &lt; *y*`", [text_node("x < *y*", "code")]),
        ("*b _i_*", [text_node("b ", "strong"), text_node("i", "em", "strong")]),
        ("*`c`*", [text_node("c", "code")]),
        ("2*3*4 snake_case_name a~b~c", [text_node("2*3*4 snake_case_name a~b~c")]),
        ("x * not* *nor *", [text_node("x * not* *nor *")]),
        ("a * b * c", [text_node("a * b * c")]),
        ("1 &lt; 2 &amp;&amp; 3 &gt; 2 &amp;lt;", [text_node("1 < 2 && 3 > 2 &lt;")]),
        ("a\x00b\x1b\ufffec\ud800", [text_node("abc")]),
    ],
)
def test_marks(text: str, expected: list[dict[str, Any]]) -> None:
    """Slack's marks count at the edges of words, and code keeps its text as it is."""
    assert line(text) == expected


@pytest.mark.parametrize(
    ("text", "shown", "href"),
    [
        ("<https://x.y/?a=1&amp;b=2|label>", "label", "https://x.y/?a=1&b=2"),
        ("<https://x.y>", "https://x.y", "https://x.y"),
        ("<https://x.y|>", "https://x.y", "https://x.y"),
        ("https://x.y/a_b_c", "https://x.y/a_b_c", "https://x.y/a_b_c"),
        ("<mailto:a@b.c>", "a@b.c", "mailto:a@b.c"),
        ("<mailto:a@b.c|a@b.c>", "a@b.c", "mailto:a@b.c"),
        ("<MAILTO:a@b.c>", "a@b.c", "MAILTO:a@b.c"),
        ("<tel:+4930123>", "+4930123", "tel:+4930123"),
        ("<tel:+4930123|+49 30 123>", "+49 30 123", "tel:+4930123"),
        ("<https://x.y|a &amp; b &lt;c&gt;>", "a & b <c>", "https://x.y"),
        ("<https://x.y/a|x.y/a>", "x.y/a", "https://x.y/a"),
        ("<!date^1700000000^{date}^https://x.y/?a=1&amp;b=2|yesterday>", "yesterday", "https://x.y/?a=1&b=2"),
    ],
)
def test_links(text: str, shown: str, href: str) -> None:
    """A link is converted with its label, without one, and bare."""
    assert line(text) == [text_node(shown, href=href)]


def test_links_and_names_within_marks() -> None:
    """A mark keeps the links and names within it."""
    assert line("*<https://x.y|label>*") == [text_node("label", "strong", href="https://x.y")]
    assert line("_see <tel:+49|+49> now_") == [
        text_node("see ", "em"),
        text_node("+49", "em", href="tel:+49"),
        text_node(" now", "em"),
    ]
    assert line("~<!subteam^S1|@ops>~") == [text_node("@ops", "strike")]
    assert line("`<mailto:a@b.c|a@b.c>`") == [text_node("a@b.c", "code")]


def test_the_end_of_a_bare_address() -> None:
    """Punctuation behind a bare address is not part of it."""
    for tail in (".", ", and", "!", ")", "&gt; x"):
        assert line(f"see https://x.y/z{tail}")[1] == text_node("https://x.y/z", href="https://x.y/z")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<@U0123>", "@U0123"),
        ("<@U0123|bob>", "@bob"),
        ("<#C0123|general>", "#general"),
        ("<!here>", "@here"),
        ("<!subteam^S1|@team>", "@team"),
        ("<!date^1700000000^{date}|yesterday>", "yesterday"),
        ("List<String>", "List<String>"),
        ("<javascript:alert(1)|x>", "<javascript:alert(1)|x>"),
        ("<!here|here>", "@here"),
        ("<!channel|@channel>", "@channel"),
        ("<!everyone>", "@everyone"),
        ("<!subteam^S1>", "@S1"),
        ("<!subteam^S1|support>", "support"),
        ("<!date^1700000000^{date} at {time}>", "2023-11-14 22:13 UTC"),
        ("<!date^9999999999999999^{date}>", "9999999999999999"),
        ("<!date^1700000000^{date}^javascript:x|then>", "then"),
        ("<!unknown>", "@unknown"),
        ("<!unknown|what it is>", "what it is"),
        ("<@W0123ABC|ann &amp; co>", "@ann & co"),
        ("<@U0123|@bob>", "@bob"),
        ("<#C0123>", "#C0123"),
        ("<#C0123|>", "#C0123"),
        ("<#G0123|priv&amp;ate>", "#priv&ate"),
        ("<slack://channel?id=C1|the channel>", "the channel (slack://channel?id=C1)"),
        ("<ftp://x.y/z|ftp://x.y/z>", "ftp://x.y/z"),
        ("<sip:ann@x.y>", "sip:ann@x.y"),
        ("<relative/path|label>", "label"),
        ("Map<K, V|W>", "Map<K, V|W>"),
        ("a <b", "a <b"),
    ],
)
def test_what_is_no_link(text: str, shown: str) -> None:
    """People, channels and dates read as in Slack; other text in angle brackets stays."""
    found = line(text)
    assert "".join(node["text"] for node in found) == shown
    assert all("marks" not in node for node in found)


def test_code_blocks() -> None:
    """Code blocks keep their indentation, and Slack's links in them become text."""
    before, code, after = blocks("try ```\n  a = *b*\n\n<https://x.y|x.y> &lt;\n``` now")
    assert (before["content"], after["content"]) == ([text_node("try")], [text_node(" now")])
    assert code == {"type": "codeBlock", "content": [text_node("  a = *b*\n\nx.y <")]}
    assert line("no ``` end")[0] == text_node("no ``` end")
    assert blocks("```\n```") == []


def test_lists_and_quotes() -> None:
    """Adjacent lines of a list or quote become one list or quote."""
    bullets, quote, paragraph = blocks("- a\n• *b*\n   ◦ c\n&gt; q\n&gt;\n>r\n-no list")
    assert [item["content"][0]["content"] for item in bullets["content"]] == [
        [text_node("a")],
        [text_node("b", "strong")],
        [text_node("c")],
    ]
    (quoted,) = quote["content"]
    texts = [node.get("text") for node in quoted["content"]]
    assert texts == ["q", None, None, "r"]
    assert paragraph["content"] == [text_node("-no list")]


@given(text=TEXTS)
def test_no_text_is_empty_or_forbidden(text: str) -> None:
    """No text is empty or has a character that Jira refuses, and no block is empty."""
    for node in nodes(document(parse(text))):
        if node["type"] == "text":
            assert node["text"]
            assert not set(node["text"]) & {"\x00", "\x07", "\r", "\ud800", "\ufffe"}
        elif node["type"] in {"bulletList", "listItem", "blockquote", "codeBlock", "paragraph"}:
            assert node["content"]


@pytest.mark.skipif(
    not FOLDER, reason="set THREADSYNC_TEST_DATA to the folder that has jira/adf-schema-v1.full.json"
)
@settings(deadline=None)
@given(text=TEXTS)
def test_every_document_satisfies_the_schema(text: str) -> None:
    """Every document satisfies Atlassian's own schema, whatever the text."""
    schema().validate(document(parse(text)))


@given(text=TEXTS)
def test_a_summary_is_one_line(text: str) -> None:
    """A summary is one line, with links and mentions as a person sees them."""
    assert not set(one_line(text)) & {"\n", "\r", "\t", "\x85", "\u2028"}
    assert (
        one_line("Fix <https://x.y|the\n page>  &lt;now&gt; <@U1|bob>\n")
        == "Fix <https://x.y|the page> <now> @bob"
    )


@pytest.mark.parametrize(
    "piece",
    [
        *"*_~`<>&- \n",
        "```",
        "*a",
        "_a ",
        "<a",
        "https://",
        "https://(",
        "&gt;",
        "&gt; ",
        "- ",
        "*_~`",
        "`*`<",
        "h1",
    ],
)
def test_no_text_takes_long(piece: str) -> None:
    """Parsing takes linear time, also for text that is made to be slow."""
    started = time.monotonic()
    document(parse(piece * (300_000 // len(piece))))
    assert time.monotonic() - started < 20
