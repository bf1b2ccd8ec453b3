"""Create a ticket, and read one or many by key."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from sandbox.jira.drafts import draft_of
from sandbox.jira.endpoints.asked import KEY, Asked, Route, listed
from sandbox.jira.faults import StripLabel
from sandbox.jira.replies import Reply, json_reply
from sandbox.jira.validation import INVALID_PAYLOAD, Refusal

_MOST_FETCHED: Final = 100


def _create(asked: Asked) -> Reply:
    if not isinstance(asked.body, dict):
        raise Refusal(INVALID_PAYLOAD)
    draft = draft_of(asked.site, asked.body, asked.account, adf=asked.is_cloud)
    if asked.later:
        asked.site.commit_later(draft, asked.later)
        # The fault replaces this response.
        return Reply(201)
    if isinstance(asked.fault, StripLabel):
        draft = replace(draft, labels=())
    return json_reply(201, asked.answers.created(asked.site.commit(draft)))


def _get(asked: Asked) -> Reply:
    fields, properties = (
        listed(asked.query.get("fields", "*all")),
        listed(asked.query.get("properties", "")),
    )
    return json_reply(200, asked.answers.issue(asked.issue(), fields, properties))


def _bulkfetch(asked: Asked) -> Reply:
    """Return the tickets that exist and that the account sees; the others are left out without a word."""
    asked.only("issueIdsOrKeys", "fields", "properties", "expand", "fieldsByKeys")
    wanted = asked.texts("issueIdsOrKeys")
    if not 0 < len(wanted) <= _MOST_FETCHED:
        raise Refusal(f"The number of issues must be between 1 and {_MOST_FETCHED}.")
    found = {
        issue.id: issue
        for key in wanted
        if (issue := asked.site.find(key)) and asked.site.sees(asked.account, issue)
    }
    fields, properties = asked.texts("fields") or ["*navigable"], asked.texts("properties")
    shown = [asked.answers.issue(found[key], fields, properties) for key in sorted(found, key=int)]
    return json_reply(200, {"issues": shown, "issueErrors": []})


ROUTES: Final = (
    Route("POST", re.compile("issue"), "create", _create),
    Route("POST", re.compile("issue/bulkfetch"), "bulkfetch", _bulkfetch, "3"),
    Route("GET", re.compile(f"issue/{KEY}"), "get", _get),
)
