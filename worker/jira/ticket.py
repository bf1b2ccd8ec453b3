"""Write a draft as the ``fields`` of the POST that creates the ticket, within Jira's limits. Pure.

| field | limit | what is done |
|---|---|---|
| summary | one line, under 255 characters | cut; then the description begins with the whole of it |
| description | 32,767 characters as it is stored | cut at 30,000; then it says how much is missing |
| labels | no spaces, 255 characters each | underscores, cut; the marker is always among them |

Jira's characters are those of Java: one beyond the Basic Multilingual Plane counts as two.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from worker.jira.answers import Deployment
from worker.text.adf import document
from worker.text.cutting import first, length
from worker.text.slack_text import Block, Paragraph, Span, cleaned, one_line, parse
from worker.text.wiki import wiki

LONGEST_SUMMARY: Final = 254
"""Most characters of a summary: some Jiras accept 255, some want less than that."""

LONGEST_LABEL: Final = 255
LONGEST_DESCRIPTION: Final = 30_000
"""Longest description, with room: Jira Cloud counts its JSON, perhaps with other white space than ours."""

_NO_SUMMARY: Final = "Slack thread"
_SPACES: Final = re.compile(r"\s+")


def fields_of(
    *,
    summary: str,
    description: str,
    labels: Iterable[str],
    marker: str,
    project_key: str,
    issue_type: str,
    deployment: Deployment,
    priority: str | None = None,
    assignee: str | None = None,
    others: Mapping[str, Any] | None = None,
    ending: str = "",
) -> dict[str, Any]:
    """Return the ``fields``: the same for the same arguments, without a description if none was drafted.

    Args:
        summary, description: in Slack's notation.
        issue_type, priority: names, or ids, which are digits alone.
        assignee: an account id, or the user's name on Data Center.
        others: values by the id of their field, sent as they are. None of the fields here can be among them.
        ending: the last paragraph of a description that was drafted, as it is; it is not cut away.
    """
    whole = one_line(summary) or _NO_SUMMARY
    short = _shortened(whole, LONGEST_SUMMARY)
    blocks = parse(description)
    last = (_paragraph(ending),) if blocks and ending else ()
    if short != whole:
        blocks = (_paragraph("The summary was too long for Jira. All of it:"), _paragraph(whole), *blocks)
    fields: dict[str, Any] = {
        **(others or {}),
        "project": {"key": project_key},
        "issuetype": _named(issue_type),
        "summary": short,
        "labels": _labels(labels, marker),
    }
    if blocks:
        fields["description"] = _adf(blocks, last) if deployment == "cloud" else _wiki(blocks, last)
    if priority:
        fields["priority"] = _named(priority)
    if assignee:
        fields["assignee"] = {"accountId" if deployment == "cloud" else "name": assignee}
    return fields


def _named(thing: str) -> dict[str, str]:
    return {"id": thing} if is_id(thing) else {"name": thing}


def is_id(thing: str) -> bool:
    """Return True for an id: digits alone. What has digits for a name must be given by its id."""
    return thing.isascii() and thing.isdigit()


def _adf(blocks: Sequence[Block], last: Sequence[Block]) -> dict[str, Any]:
    fitting = _fitting(blocks, lambda part: json.dumps(document(part), ensure_ascii=False))
    return document((*fitting, *last))


def _wiki(blocks: Sequence[Block], last: Sequence[Block]) -> str:
    return wiki((*_fitting(blocks, wiki), *last))


class _Written(Protocol):
    def __call__(self, blocks: Iterable[Block], /) -> str: ...


def _fitting(blocks: Sequence[Block], written: _Written) -> Sequence[Block]:
    """Cut blocks so that they leave room for the note on what is missing."""
    everything = length(blocks)
    # No character takes less than one: nothing longer is ever written down, however long the text is.
    if everything <= LONGEST_DESCRIPTION and _size(written(blocks)) <= LONGEST_DESCRIPTION:
        return blocks
    most = tuple(first(blocks, LONGEST_DESCRIPTION))

    def beginning(count: int) -> Sequence[Block]:
        kept = tuple(first(most, count))
        return (*kept, _note(everything - length(kept)))

    counts = range(LONGEST_DESCRIPTION)
    tried = bisect_right(counts, LONGEST_DESCRIPTION, key=lambda count: _size(written(beginning(count))))
    return beginning(max(tried - 1, 0))


def _note(missing: int) -> Paragraph:
    return _paragraph(f"… cut here: {missing:,} more characters; the whole text is in the Slack thread")


def _paragraph(text: str) -> Paragraph:
    return Paragraph(((Span(text),),))


def _labels(drafted: Iterable[str], marker: str) -> list[str]:
    """Return labels without duplicates, the marker last."""
    labels = (_beginning(_SPACES.sub("_", cleaned(label).strip()), LONGEST_LABEL) for label in drafted)
    return [label for label in dict.fromkeys(labels) if label not in {"", marker}] + [marker]


def _shortened(text: str, limit: int) -> str:
    return text if _size(text) <= limit else _beginning(text, limit - 1).rstrip() + "…"


def _beginning(text: str, limit: int) -> str:
    """Cut text without half of a surrogate pair at its end."""
    return text.encode("utf-16-le")[: 2 * limit].decode("utf-16-le", "ignore")


def _size(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
