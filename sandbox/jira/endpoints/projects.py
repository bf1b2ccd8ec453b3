"""Projects: Cloud's search of them, the list of all, and one."""

from __future__ import annotations

import re
from typing import Any, Final

from sandbox.jira import metadata
from sandbox.jira.endpoints.asked import Asked, Route, listed
from sandbox.jira.replies import Reply, error_reply, json_reply

_MOST_LISTED: Final = 100


def _search(asked: Asked) -> Reply:
    """Return a page of the projects whose key or name contains ``query``.

    ``keys`` names them exactly; with ``action=create`` they are those in which tickets may be created.
    """
    wanted, keys = asked.query.get("query", "").casefold(), listed(asked.query.get("keys", ""))
    to_create = asked.query.get("action") == "create"
    found = [
        project
        for project in _visible(asked)
        if (not keys or project["key"] in keys)
        and (not to_create or asked.site.project(project["key"]).creatable)
        and (wanted in project["key"].casefold() or wanted in project["name"].casefold())
    ]
    start, most = asked.page(_MOST_LISTED)
    shown, link = found[start : start + most], f"{asked.answers.rest}/project/search"
    end = start + len(shown)
    page: dict[str, Any] = {
        "self": f"{link}?startAt={start}&maxResults={most}",
        "maxResults": most,
        "startAt": start,
        "total": len(found),
        "isLast": end >= len(found),
        "values": shown,
    }
    if end < len(found):
        page["nextPage"] = f"{link}?startAt={end}&maxResults={most}"
    return json_reply(200, page)


def _list(asked: Asked) -> Reply:
    return json_reply(200, _visible(asked))


def _get(asked: Asked) -> Reply:
    for key, identity in asked.site.projects.items():
        if asked.named["project"] in (key, identity) and metadata.is_visible(asked.site, key, asked.account):
            shown = metadata.project(asked.answers, asked.site, key)
            types = [metadata.issue_type(asked.answers, kind) for kind in asked.site.types_of(key)]
            return json_reply(200, {**shown, "issueTypes": types})
    return error_reply(404, [f"No project could be found with key '{asked.named['project']}'."])


def _visible(asked: Asked) -> list[dict[str, Any]]:
    return [
        metadata.project(asked.answers, asked.site, key)
        for key in sorted(asked.site.projects)
        if metadata.is_visible(asked.site, key, asked.account)
    ]


ROUTES: Final = (
    Route("GET", re.compile("project/search"), "project.search", _search, "3"),
    Route("GET", re.compile("project"), "project.list", _list),
    Route("GET", re.compile("project/(?P<project>[^/]+)"), "project.get", _get),
)
