"""A draft as the fields of a ticket, within Jira's limits."""

from __future__ import annotations

import json
import time
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.jira.ticket import fields_of
from worker.text.cutting import first, length
from worker.text.slack_text import parse

MARKER = "slk-marker"


def fields(
    summary: str = "Broken login",
    description: str = "",
    labels: tuple[str, ...] = (),
    deployment: Literal["cloud", "datacenter"] = "cloud",
) -> dict[str, Any]:
    return fields_of(
        summary=summary,
        description=description,
        labels=labels,
        marker=MARKER,
        project_key="PROJ",
        issue_type="Task",
        deployment=deployment,
    )


def size(text: str) -> int:
    """As Java counts."""
    return len(text.encode("utf-16-le")) // 2


def written(description: Any) -> str:
    return description if isinstance(description, str) else json.dumps(description, ensure_ascii=False)


def texts(node: dict[str, Any]) -> str:
    return str(node.get("text", "")) + "".join(texts(child) for child in node.get("content", ()))


def test_all_fields() -> None:
    """A small draft goes through as it is."""
    assert fields("Broken login", "on *iOS*", ("mobile",)) == {
        "project": {"key": "PROJ"},
        "issuetype": {"name": "Task"},
        "summary": "Broken login",
        "labels": ["mobile", MARKER],
        "description": {
            "type": "doc",
            "version": 1,
            "content": [
                {
                    "type": "paragraph",
                    "content": [
                        {"type": "text", "text": "on "},
                        {"type": "text", "text": "iOS", "marks": [{"type": "strong"}]},
                    ],
                }
            ],
        },
    }


def test_a_data_center_has_wiki_text() -> None:
    """Its API knows no documents."""
    assert fields(description="on *iOS*", deployment="datacenter")["description"] == "on {*}iOS{*}"


@pytest.mark.parametrize("description", ["", "  \n\n ", "\x00", "```\n```"])
def test_no_description_is_none(description: str) -> None:
    """An empty one would be refused by some projects, and helps nobody."""
    assert "description" not in fields(description=description)


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ("  one\ntwo\t three\u2028four ", "one two three four"),
        ("<https://x.y|Page> &lt;down&gt;", "Page <down>"),
        ("x" * 254, "x" * 254),
        ("x" * 255, "x" * 253 + "…"),
        ("😀" * 127, "😀" * 127),
        ("😀" * 128, "😀" * 126 + "…"),
        (" \n\x00", "Slack thread"),
    ],
)
def test_the_summary_is_one_line(summary: str, expected: str) -> None:
    """As long as Jira takes it."""
    found = fields(summary)["summary"]
    assert found == expected
    assert size(found) <= 254


def test_a_cut_summary_is_whole_in_the_description() -> None:
    """In front of what was drafted."""
    found = texts(fields("word " * 100, "the rest")["description"])
    assert found.startswith("The summary was too long for Jira. All of it:" + "word " * 99 + "word")
    assert found.endswith("the rest")
    assert "description" not in fields("word")


def test_labels() -> None:
    """Without spaces or duplicates; the marker is always there, once, at the end."""
    drafted = ("a b", " a\t b ", "", " ", "x" * 300, MARKER, "c\x00", "c")
    assert fields(labels=drafted)["labels"] == ["a_b", "x" * 255, "c", MARKER]


LONG = {
    "paragraphs": ("word " * 20 + "\n\n") * 2000,
    "lines": "some line\n" * 20_000,
    "one word": "x" * 200_000,
    "code": ("```\n" + "line\n" * 1000 + "```\n") * 40,
    "one block of code": "```" + "line\n" * 40_000 + "```",
    "list": "- item\n" * 30_000,
    "quote": "&gt; said\n&gt;\n" * 12_000,
    "links": "<https://x.y/z|l> " * 10_000,
    "emoji": "😀" * 100_000,
    "quotation marks": '"\\' * 100_000,
    "accents": "é" * 200_000,
    "marks": "*a* _b_ " * 25_000,
}


@pytest.mark.parametrize("deployment", ["cloud", "datacenter"])
@pytest.mark.parametrize("kind", LONG)
def test_a_long_description_is_cut(kind: str, deployment: Literal["cloud", "datacenter"]) -> None:
    """It uses the room that there is, and says how much is missing."""
    description = fields(description=LONG[kind], deployment=deployment)["description"]
    assert 29_000 < size(written(description)) <= 30_000
    shown = description if isinstance(description, str) else texts(description)
    assert "… cut here: " in shown
    assert shown.endswith("more characters; the whole text is in the Slack thread")


def test_the_note_counts_right() -> None:
    """What is there and what is missing are all of it."""
    description = fields(description="x" * 123_456)["description"]
    kept, note = (texts(node) for node in description["content"])
    assert (
        note == f"… cut here: {123_456 - len(kept):,} more characters; the whole text is in the Slack thread"
    )


def test_a_huge_summary_and_description_are_cut() -> None:
    """Together they fit."""
    assert size(written(fields("word " * 100_000, "x" * 1_000_000)["description"])) <= 30_000


def test_a_description_that_fits_is_not_cut() -> None:
    """Up to the limit."""
    assert "cut here" not in texts(fields(description="x" * 29_000)["description"])


def test_a_long_address_is_no_link() -> None:
    """A link cannot be cut, text can."""
    for text in ("https://x.y/" + "a" * 50_000, f"<https://x.y/{'a' * 50_000}|here>"):
        description = fields(description=f"{text}\n\nmore")["description"]
        assert "link" not in json.dumps(description)
        assert size(written(description)) > 29_000


@settings(deadline=None)
@given(text=st.text() | st.text("ab \n>-`*"), count=st.integers(0, 30))
def test_a_beginning_is_a_beginning(text: str, count: int) -> None:
    """Not longer than asked for, of whole blocks up to the last."""
    blocks = parse(text)
    kept = tuple(first(blocks, count))
    assert length(kept) <= count
    assert kept[:-1] == blocks[: max(len(kept) - 1, 0)]
    assert tuple(first(blocks, length(blocks))) == blocks


def test_cutting_takes_no_longer_than_reading() -> None:
    """Megabytes are cut as well, in blocks or in one."""
    started = time.monotonic()
    fields(description=("word " * 200 + "\n\n") * 2_000)
    fields(description="*a* _b_ " * 250_000)
    assert time.monotonic() - started < 60
