"""Jira's tickets as the page shows them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from sandbox.jira.issues import Comment, Draft, Issue
from sandbox.jira.site import JiraSite
from sandbox.playground.tickets import names_on, tickets_json, value_of

RED = SimpleNamespace(id="1", text="Red")
DOCUMENT = {"type": "doc", "content": [{"type": "paragraph", "content": [{"type": "text", "text": "One"}]}]}

KEPT = ("id", "key", "project", "issue_type", "summary", "description", "labels", "created", "remote_links")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        (1.5, "1.5"),
        (None, ""),
        ([], ""),
        (["a", "b"], "a, b"),
        ({"id": "3", "name": "High"}, "High"),
        ({"id": "3"}, "3"),
        ({"value": "Red"}, "Red"),
        ({"accountId": "5b1", "displayName": "Ada"}, "Ada"),
        (DOCUMENT, "One"),
        (RED, "Red"),
        ([RED, {"name": "1.0"}], "Red, 1.0"),
        (SimpleNamespace(parent=RED, child=None), "Red"),
        (SimpleNamespace(parent=RED, child=SimpleNamespace(text="Dark")), "Red / Dark"),
        (SimpleNamespace(name="ada", display_name="Ada"), "Ada"),
    ],
)
def test_a_field_is_shown_as_text(value: Any, shown: str) -> None:
    """A field's value is shown as a person reads it, whether as Jira takes it or as the sandbox keeps it."""
    assert value_of(value) == shown


def test_a_ticket_is_shown_with_all_that_follows_it() -> None:
    """Fields have their names; attachments, comments and links are there."""
    site = JiraSite(["PLAY"])
    made = site.commit(Draft("PLAY", "Task", "It broke", DOCUMENT, ("slk-x",)))
    file = SimpleNamespace(filename="thread.txt", content=b"it broke")
    more = {
        "fields": {"summary": "It broke", "customfield_1": RED, "environment": None},
        "attachments": (file,),
        "comments": (Comment(1, DOCUMENT), Comment(2, "plain")),
    }
    issue = cast("Issue", SimpleNamespace(**{name: getattr(made, name) for name in KEPT} | more))
    (ticket,) = tickets_json([issue], lambda issue: names_on(site, issue))
    assert ticket["fields"] == [
        {"name": "Summary", "value": "It broke"},
        {"name": "customfield_1", "value": "Red"},
    ]
    assert ticket["files"] == [{"name": "thread.txt", "size": 8}]
    assert ticket["comments"] == ["One", "plain"]
