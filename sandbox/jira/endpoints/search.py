"""Search tickets: the search of Cloud, and the older one of Data Center, which Cloud has removed."""

from __future__ import annotations

import itertools
import re
from typing import Final

from sandbox.jira.endpoints.asked import NUMBER, Asked, Route
from sandbox.jira.jql import JqlError, Query, parse
from sandbox.jira.replies import Reply, error_reply, json_reply
from sandbox.jira.validation import INVALID_PAYLOAD, Refusal

_MOST_FOUND: Final = 5_000
_REMOVED: Final = (
    "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API. "
    "A full migration guideline is available at "
    "https://developer.atlassian.com/changelog/#CHANGE-2046"
)


def _search_jql(asked: Asked) -> Reply:
    asked.only("jql", "maxResults", "nextPageToken", "fields", "properties", "expand", "fieldsByKeys")
    token = asked.value("nextPageToken", str, "0")
    if not NUMBER.fullmatch(token):
        raise Refusal(INVALID_PAYLOAD)
    return _found(asked, int(token), asked.texts("fields") or ["id"], asked.texts("properties"))


def _search(asked: Asked) -> Reply:
    """Search as Data Center does, which ignores a request for entity properties; Cloud has removed it."""
    if asked.is_cloud:
        return error_reply(410, [_REMOVED])
    asked.only("jql", "startAt", "maxResults", "fields", "properties", "expand", "validateQuery")
    return _found(asked, asked.value("startAt", int, 0), asked.texts("fields") or ["*navigable"], [])


def _found(asked: Asked, start: int, fields: list[str], properties: list[str]) -> Reply:
    """Return a page of what the account sees; what it does not see is no part of it, and not counted."""
    most = min(asked.value("maxResults", int, 50), _MOST_FOUND)
    if start < 0 or most < 0:
        raise Refusal(INVALID_PAYLOAD)
    # Only Data Center returns the total.
    enough = start + most + 1 if asked.is_cloud else None
    seen = (issue for issue in asked.site.search(_query(asked)) if asked.site.sees(asked.account, issue))
    found = list(itertools.islice(seen, enough))
    shown = [asked.answers.issue(issue, fields, properties) for issue in found[start : start + most]]
    return json_reply(200, asked.answers.page(shown, start, most, len(found)))


def _query(asked: Asked) -> Query:
    try:
        query = parse(asked.value("jql", str, ""))
    except JqlError as exc:
        raise Refusal(str(exc)) from exc
    if query.project is not None and query.project not in asked.site.projects:
        raise Refusal(f"The value '{query.project}' does not exist for the field 'project'.")
    return query


ROUTES: Final = (
    Route("POST", re.compile("search/jql"), "search", _search_jql, "3"),
    Route("POST", re.compile("search"), "search", _search),
)
