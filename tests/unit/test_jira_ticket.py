"""A draft as the fields of a ticket, within Jira's limits."""

from __future__ import annotations

import json
import time
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.scale import bounded
from worker.jira.ticket import fields_of
from worker.text.cutting import first, length
from worker.text.slack_text import parse

MARKER = "slk-marker"


def fields(
    summary: str = "Broken login",
    description: str = "",
    labels: tuple[str, ...] = (),
    deployment: Literal["cloud", "datacenter"] = "cloud",
    ending: str = "",
) -> dict[str, Any]:
    return fields_of(
        summary=summary,
        description=description,
        labels=labels,
        marker=MARKER,
        project_key="PROJ",
        issue_type="Task",
        deployment=deployment,
        ending=ending,
    )


def size(text: str) -> int:
    """Return the length as Java counts it."""
    return len(text.encode("utf-16-le")) // 2


def written(description: Any) -> str:
    return description if isinstance(description, str) else json.dumps(description, ensure_ascii=False)


def texts(node: dict[str, Any]) -> str:
    return str(node.get("text", "")) + "".join(texts(child) for child in node.get("content", ()))


def test_all_fields() -> None:
    """A small draft becomes the fields unchanged, with the marker as a label."""
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
    """A Data Center gets wiki text, because its API knows no documents."""
    assert fields(description="on *iOS*", deployment="datacenter")["description"] == "on {*}iOS{*}"


@pytest.mark.parametrize("description", ["", "  \n\n ", "\x00", "```\n```"])
def test_no_description_is_none(description: str) -> None:
    """An empty description is left out, because some projects would refuse it."""
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
    """The summary is one line, cut to the length that Jira takes."""
    found = fields(summary)["summary"]
    assert found == expected
    assert size(found) <= 254


def test_a_cut_summary_is_whole_in_the_description() -> None:
    """A summary that is cut stands in full at the head of the description."""
    found = texts(fields("word " * 100, "the rest")["description"])
    assert found.startswith("The summary was too long for Jira. All of it:" + "word " * 99 + "word")
    assert found.endswith("the rest")
    assert "description" not in fields("word")


def test_labels() -> None:
    """Labels have no spaces or duplicates, and end with the marker."""
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
    """A long description fills the limit, and ends with the number of missing characters."""
    description = fields(description=LONG[kind], deployment=deployment)["description"]
    assert 29_000 < size(written(description)) <= 30_000
    shown = description if isinstance(description, str) else texts(description)
    assert "… cut here: " in shown
    assert shown.endswith("more characters; the whole text is in the Slack thread")


@pytest.mark.parametrize("deployment", ["cloud", "datacenter"])
@pytest.mark.parametrize("kind", ["", *LONG])
def test_a_last_paragraph(kind: str, deployment: Literal["cloud", "datacenter"]) -> None:
    """The last paragraph is there as it is, also where the description is cut, and within Jira's limit."""
    ending = "Requested in Slack by *Ada* [x|https://e.com] <@U1>."
    description = fields(description=LONG.get(kind, "As told"), deployment=deployment, ending=ending)
    found = description["description"]
    assert size(written(found)) <= 32_767
    if isinstance(found, str):
        without = str(fields(description=LONG.get(kind, "As told"), deployment=deployment)["description"])
        assert found.startswith(without)
        assert found.count("\n\n") == without.count("\n\n") + 1
    else:
        assert found["content"][-1] == {
            "type": "paragraph",
            "content": [{"type": "text", "text": ending}],
        }


@pytest.mark.parametrize("description", ["", " \n\x00"])
def test_a_last_paragraph_needs_a_description(description: str) -> None:
    """Where none was drafted there is no description, or only the rest of a summary."""
    assert "description" not in fields(description=description, ending="Requested in Slack by Ada.")
    rest = fields("word " * 100, description, ending="Requested in Slack by Ada.")
    assert "Requested" not in texts(rest["description"])


def test_the_note_counts_right() -> None:
    """The note's number and the kept text add up to the whole description."""
    description = fields(description="x" * 123_456)["description"]
    kept, note = (texts(node) for node in description["content"])
    assert (
        note == f"… cut here: {123_456 - len(kept):,} more characters; the whole text is in the Slack thread"
    )


def test_a_huge_summary_and_description_are_cut() -> None:
    """A huge summary and a huge description fit together into the limit."""
    assert size(written(fields("word " * 100_000, "x" * 1_000_000)["description"])) <= 30_000


def test_a_description_that_fits_is_not_cut() -> None:
    """A description up to the limit is not cut."""
    assert "cut here" not in texts(fields(description="x" * 29_000)["description"])


def test_a_long_address_is_no_link() -> None:
    """An address that is too long becomes text, which can be cut."""
    for text in ("https://x.y/" + "a" * 50_000, f"<https://x.y/{'a' * 50_000}|here>"):
        description = fields(description=f"{text}\n\nmore")["description"]
        assert "link" not in json.dumps(description)
        assert size(written(description)) > 29_000


@settings(deadline=None)
@given(text=st.text() | st.text("ab \n>-`*"), count=st.integers(0, 30))
def test_a_beginning_is_a_beginning(text: str, count: int) -> None:
    """A beginning is not longer than asked for, and keeps whole blocks up to the last."""
    blocks = parse(text)
    kept = tuple(first(blocks, count))
    assert length(kept) <= count
    assert kept[:-1] == blocks[: max(len(kept) - 1, 0)]
    assert tuple(first(blocks, length(blocks))) == blocks


@pytest.mark.bounded
def test_cutting_takes_no_longer_than_reading() -> None:
    """Cutting a large text takes bounded time, in many blocks or in one."""
    started, tenths = time.monotonic(), bounded(10, 2)
    fields(description=("word " * 200 + "\n\n") * 200 * tenths)
    fields(description="*a* _b_ " * 25_000 * tenths)
    assert time.monotonic() - started < 6 * tenths
