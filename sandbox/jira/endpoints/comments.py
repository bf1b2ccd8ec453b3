"""Comments of a ticket: add one, list them, read one."""

from __future__ import annotations

import re
from typing import Final

from sandbox.jira.endpoints.asked import KEY, Asked, Route, listed
from sandbox.jira.replies import Reply, error_reply, json_reply
from sandbox.jira.validation import Refusal, comment_fault, properties_of

_MOST_LISTED: Final = 5_000


def _add(asked: Asked) -> Reply:
    issue = asked.issue()
    asked.only("body", "properties", "visibility")
    body, properties = asked.body.get("body"), properties_of(asked.body.get("properties", []))
    if fault := comment_fault(body, adf=asked.is_cloud):
        raise Refusal(errors={"comment": fault})
    comment = asked.site.add_comment(issue.id, body, properties, asked.later, asked.account.id)
    return json_reply(201, asked.answers.comment(issue, comment, with_properties=True))


def _list(asked: Asked) -> Reply:
    found = asked.issue().comments
    order = asked.query.get("orderBy", "created")
    if order not in ("created", "+created", "-created"):
        raise Refusal(f"The field '{order}' cannot be used to order comments.")
    if order == "-created":
        found = tuple(reversed(found))
    start, most = asked.page(_MOST_LISTED, usual=100)
    shown = [
        asked.answers.comment(asked.issue(), comment, with_properties=_with_properties(asked))
        for comment in found[start : start + most]
    ]
    page = {"startAt": start, "maxResults": most, "total": len(found), "comments": shown}
    return json_reply(200, page)


def _get(asked: Asked) -> Reply:
    issue = asked.issue()
    for comment in issue.comments:
        if str(comment.id) == asked.named["comment"]:
            return json_reply(
                200, asked.answers.comment(issue, comment, with_properties=_with_properties(asked))
            )
    return error_reply(404, [f"Can not find a comment for the id: {asked.named['comment']}."])


def _with_properties(asked: Asked) -> bool:
    return "properties" in listed(asked.query.get("expand", ""))


_COMMENTS: Final = f"issue/{KEY}/comment"

ROUTES: Final = (
    Route("POST", re.compile(_COMMENTS), "comment.add", _add),
    Route("GET", re.compile(_COMMENTS), "comment.list", _list),
    Route("GET", re.compile(f"{_COMMENTS}/(?P<comment>[^/]+)"), "comment.get", _get),
)
