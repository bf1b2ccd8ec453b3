"""Entity properties of tickets and comments: list keys, read, set, remove."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from sandbox.jira.endpoints.asked import KEY, Asked, Route
from sandbox.jira.issues import Comment, Issue
from sandbox.jira.replies import Reply, error_reply, json_reply
from sandbox.jira.validation import LONGEST_PROPERTY, Refusal


def _keys(asked: Asked) -> Reply:
    properties = _owner(asked)[1]
    keys = [{"key": key, "self": f"{asked.answers.rest}/{_path(asked)}/{key}"} for key in properties]
    return json_reply(200, {"keys": keys})


def _get(asked: Asked) -> Reply:
    key, properties = asked.named["property"], _owner(asked)[1]
    if key not in properties:
        return _missing(key)
    return json_reply(200, {"key": key, "value": properties[key]})


def _put(asked: Asked) -> Reply:
    """Set a property: 201 if it is new, 200 if it had another value."""
    if asked.body is None or len(json.dumps(asked.body)) > LONGEST_PROPERTY:
        raise Refusal(f"The value of the property is longer than {LONGEST_PROPERTY} characters.")
    return Reply(201 if _set(asked, asked.body) else 200)


def _remove(asked: Asked) -> Reply:
    key = asked.named["property"]
    if key not in _owner(asked)[1]:
        return _missing(key)
    _set(asked, None)
    return Reply(204)


def _set(asked: Asked, value: Any) -> bool:
    (issue, comment), _ = _owner(asked)
    key = asked.named["property"]
    if comment is None:
        return asked.site.put_property(issue.id, key, value, asked.later)
    return asked.site.put_comment_property(issue.id, comment.id, key, value, asked.later)


def _owner(asked: Asked) -> tuple[tuple[Issue, Comment | None], Mapping[str, Any]]:
    """Return a ticket, or a comment and its ticket, with its properties. Raises ``Refusal`` if hidden."""
    if "key" in asked.named:
        issue = asked.issue()
        return (issue, None), issue.properties
    for issue in asked.site.issues:
        for comment in issue.comments:
            if str(comment.id) == asked.named["comment"] and asked.site.sees(asked.account, issue):
                return (issue, comment), comment.properties
    raise Refusal(f"Can not find a comment for the id: {asked.named['comment']}.", status=404)


def _path(asked: Asked) -> str:
    if "key" in asked.named:
        return f"issue/{asked.named['key']}/properties"
    return f"comment/{asked.named['comment']}/properties"


def _missing(key: str) -> Reply:
    return error_reply(404, [f"The property with key '{key}' does not exist."])


_OWNERS: Final = (rf"issue/{KEY}/properties", r"comment/(?P<comment>\d+)/properties")

ROUTES: Final = tuple(
    route
    for owner in _OWNERS
    for route in (
        Route("GET", re.compile(owner), "property.get", _keys),
        Route("GET", re.compile(f"{owner}/(?P<property>[^/]+)"), "property.get", _get),
        Route("PUT", re.compile(f"{owner}/(?P<property>[^/]+)"), "property.put", _put),
        Route("DELETE", re.compile(f"{owner}/(?P<property>[^/]+)"), "property.remove", _remove),
    )
)
