"""Remote links of a ticket: put one by ``globalId``, read, remove."""

from __future__ import annotations

import re
from typing import Final

from sandbox.jira.endpoints.asked import KEY, Asked, Route
from sandbox.jira.replies import Reply, error_reply, json_reply
from sandbox.jira.validation import Refusal


def _put(asked: Asked) -> Reply:
    issue = asked.issue()
    asked.only("globalId", "application", "relationship", "object")
    page, global_id = asked.value("object", dict, {}), asked.body.get("globalId")
    missing = {name: f"'{name}' is required." for name in ("url", "title") if not page.get(name)}
    if missing:
        raise Refusal(errors=missing)
    link, is_new = asked.site.put_link(issue.id, global_id, page["url"], page["title"], asked.later)
    return json_reply(201 if is_new else 200, asked.answers.link(issue, link))


def _get(asked: Asked) -> Reply:
    """Return a ticket's remote link by ``globalId``, or without one a list of all."""
    issue = asked.issue()
    wanted = asked.query.get("globalId")
    if wanted is None:
        return json_reply(200, [asked.answers.whole_link(issue, link) for link in issue.remote_links])
    for link in issue.remote_links:
        if link.global_id == wanted:
            return json_reply(200, asked.answers.whole_link(issue, link))
    return _missing(wanted)


def _remove(asked: Asked) -> Reply:
    issue, wanted = asked.issue(), asked.query.get("globalId", "")
    if not asked.site.remove_link(issue.id, wanted, asked.later):
        return _missing(wanted)
    return Reply(204)


def _missing(global_id: str) -> Reply:
    return error_reply(404, [f"A remote issue link with globalId '{global_id}' does not exist."])


_LINKS: Final = re.compile(f"issue/{KEY}/remotelink")

ROUTES: Final = (
    Route("POST", _LINKS, "remotelink.put", _put),
    Route("GET", _LINKS, "remotelink.get", _get),
    Route("DELETE", _LINKS, "remotelink.remove", _remove),
)
