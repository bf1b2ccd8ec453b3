"""What a new ticket may have: the issue types of a project, and the fields of each one's create screen."""

from __future__ import annotations

import re
from typing import Any, Final

from sandbox.jira import metadata
from sandbox.jira.endpoints.asked import Asked, Route
from sandbox.jira.replies import Reply, error_reply, json_reply
from sandbox.jira.validation import Refusal

_MOST_LISTED: Final = 200


def _types(asked: Asked) -> Reply:
    key = _project(asked)
    shown = [metadata.issue_type(asked.answers, kind) for kind in asked.site.types_of(key)]
    return _page(asked, "issueTypes", shown)


def _fields(asked: Asked) -> Reply:
    key = _project(asked)
    for kind in asked.site.types_of(key):
        if kind.id == asked.named["type"]:
            return _page(asked, "fields", metadata.fields(asked.answers, asked.site, key, kind))
    return error_reply(400, ["The issue type is not valid for the project."])


def _project(asked: Asked) -> str:
    """Return the key of the project, named by key or id.

    Raises ``Refusal`` if the account sees none, or may create nothing in it.
    """
    named = asked.named["project"]
    for key, identity in asked.site.projects.items():
        is_meant = named in (key, identity) and metadata.is_visible(asked.site, key, asked.account)
        if is_meant and asked.site.project(key).creatable:
            return key
    raise Refusal(
        f"No project could be found with key or id '{named}'.", status=404 if asked.is_cloud else 400
    )


def _page(asked: Asked, name: str, items: list[dict[str, Any]]) -> Reply:
    """Return a page; Data Center calls the items of each kind ``values`` and says which page is the last."""
    start, most = asked.page(_MOST_LISTED)
    shown = items[start : start + most]
    page: dict[str, Any] = {"maxResults": most, "startAt": start, "total": len(items)}
    if asked.is_cloud:
        return json_reply(200, {**page, name: shown})
    return json_reply(200, {**page, "isLast": start + len(shown) >= len(items), "values": shown})


_META: Final = r"issue/createmeta/(?P<project>[^/]+)/issuetypes"

ROUTES: Final = (
    Route("GET", re.compile(_META), "createmeta.types", _types),
    Route("GET", re.compile(f"{_META}/(?P<type>[^/]+)"), "createmeta.fields", _fields),
)
