"""The sandbox Jira's endpoints, and their routes. They serve authenticated requests only."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sandbox.jira.answers import Answers
from sandbox.jira.faults import CommitLate, Fault, StripLabel
from sandbox.jira.jql import JqlError, Query, parse
from sandbox.jira.replies import Reply, error_reply, json_reply
from sandbox.jira.site import JiraSite
from sandbox.jira.validation import INVALID_PAYLOAD, Refusal, comment_fault, draft_of, properties_of

_MOST_FOUND: Final = 5_000
_MOST_FETCHED: Final = 100
_NO_ISSUE: Final = "Issue does not exist or you do not have permission to see it."
_REMOVED: Final = (
    "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API. "
    "A full migration guideline is available at "
    "https://developer.atlassian.com/changelog/#CHANGE-2046"
)


@dataclass(frozen=True)
class Asked:
    """A call of an endpoint: ``named`` are the parts of the path, ``body`` its JSON ({} without one)."""

    site: JiraSite
    version: str
    named: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    fault: Fault | None
    answers: Answers

    @property
    def is_cloud(self) -> bool:
        """Return True for API version 3; version 2 stands for a Data Center here."""
        return self.version == "3"

    def value(self, name: str, kind: type[Any], default: Any) -> Any:
        """Return a value of the body. Raises ``Refusal`` if it is not of that kind."""
        value = self.body.get(name, default)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise Refusal(INVALID_PAYLOAD)
        return value

    def texts(self, name: str) -> list[str]:
        """Return a list of strings in the body. Raises ``Refusal`` if it is anything else."""
        values: list[str] = self.value(name, list, [])
        if not all(isinstance(value, str) for value in values):
            raise Refusal(INVALID_PAYLOAD)
        return values

    def only(self, *names: str) -> None:
        """Raise ``Refusal`` if the body has members besides these."""
        if not isinstance(self.body, dict) or set(self.body) - set(names):
            raise Refusal(INVALID_PAYLOAD)


def _create(asked: Asked) -> Reply:
    site = asked.site
    if not isinstance(asked.body, dict):
        raise Refusal(INVALID_PAYLOAD)
    draft = draft_of(site, asked.body, adf=asked.is_cloud)
    if isinstance(asked.fault, CommitLate):
        site.commit_later(draft, asked.fault.seconds)
        # The fault replaces this response.
        return Reply(201)
    if isinstance(asked.fault, StripLabel):
        draft = replace(draft, labels=())
    return json_reply(201, asked.answers.created(site.commit(draft)))


def _get(asked: Asked) -> Reply:
    issue = asked.site.find(asked.named["key"])
    if issue is None:
        return error_reply(404, [_NO_ISSUE])
    fields, properties = (
        _listed(asked.query.get("fields", "*all")),
        _listed(asked.query.get("properties", "")),
    )
    return json_reply(200, asked.answers.issue(issue, fields, properties))


def _bulkfetch(asked: Asked) -> Reply:
    asked.only("issueIdsOrKeys", "fields", "properties", "expand", "fieldsByKeys")
    wanted = asked.texts("issueIdsOrKeys")
    if not 0 < len(wanted) <= _MOST_FETCHED:
        raise Refusal(f"The number of issues must be between 1 and {_MOST_FETCHED}.")
    found = {issue.id: issue for key in wanted if (issue := asked.site.find(key))}
    fields, properties = asked.texts("fields") or ["*navigable"], asked.texts("properties")
    shown = [asked.answers.issue(found[key], fields, properties) for key in sorted(found, key=int)]
    return json_reply(200, {"issues": shown, "issueErrors": []})


def _search_jql(asked: Asked) -> Reply:
    asked.only("jql", "maxResults", "nextPageToken", "fields", "properties", "expand", "fieldsByKeys")
    token = asked.value("nextPageToken", str, "0")
    if not token.isdecimal():
        raise Refusal(INVALID_PAYLOAD)
    return _found(asked, int(token), asked.texts("fields") or ["id"], asked.texts("properties"))


def _search(asked: Asked) -> Reply:
    """Search as Data Center does, which ignores a request for entity properties; Cloud has removed it."""
    if asked.is_cloud:
        return error_reply(410, [_REMOVED])
    asked.only("jql", "startAt", "maxResults", "fields", "properties", "expand", "validateQuery")
    return _found(asked, asked.value("startAt", int, 0), asked.texts("fields") or ["*navigable"], [])


def _found(asked: Asked, start: int, fields: list[str], properties: list[str]) -> Reply:
    most = min(asked.value("maxResults", int, 50), _MOST_FOUND)
    if start < 0 or most < 0:
        raise Refusal(INVALID_PAYLOAD)
    # Only Data Center returns the total.
    enough = start + most + 1 if asked.is_cloud else None
    found = list(itertools.islice(asked.site.search(_query(asked)), enough))
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


def _myself(asked: Asked) -> Reply:
    return json_reply(200, asked.answers.myself())


def _server_info(asked: Asked) -> Reply:
    return json_reply(200, asked.answers.server_info())


def _issue_types(asked: Asked) -> Reply:
    return _unknown_project(asked) or json_reply(200, asked.answers.issue_types())


def _screen(asked: Asked) -> Reply:
    if asked.named["type"] not in asked.site.issue_types.values():
        return _unknown_project(asked) or error_reply(400, ["The issue type is not valid for the project."])
    return _unknown_project(asked) or json_reply(200, asked.answers.screen())


def _unknown_project(asked: Asked) -> Reply | None:
    project = asked.named["project"]
    if project in asked.site.projects or project in asked.site.projects.values():
        return None
    status = 404 if asked.is_cloud else 400
    return error_reply(status, [f"No project could be found with key or id '{project}'."])


def _put_link(asked: Asked) -> Reply:
    issue = asked.site.find(asked.named["key"])
    if issue is None:
        return error_reply(404, [_NO_ISSUE])
    asked.only("globalId", "application", "relationship", "object")
    page, global_id = asked.value("object", dict, {}), asked.body.get("globalId")
    missing = {name: f"'{name}' is required." for name in ("url", "title") if not page.get(name)}
    if missing:
        raise Refusal(errors=missing)
    link, is_new = asked.site.put_link(issue.id, global_id, page["url"], page["title"])
    return json_reply(201 if is_new else 200, asked.answers.link(issue, link))


def _links(asked: Asked) -> Reply:
    """Return a ticket's remote link by ``globalId``, or without one a list of all."""
    issue = asked.site.find(asked.named["key"])
    if issue is None:
        return error_reply(404, [_NO_ISSUE])
    wanted = asked.query.get("globalId")
    if wanted is None:
        return json_reply(200, [asked.answers.whole_link(issue, link) for link in issue.remote_links])
    for link in issue.remote_links:
        if link.global_id == wanted:
            return json_reply(200, asked.answers.whole_link(issue, link))
    return error_reply(404, [f"A remote issue link with globalId '{wanted}' does not exist."])


def _remove_link(asked: Asked) -> Reply:
    issue, wanted = asked.site.find(asked.named["key"]), asked.query.get("globalId", "")
    if issue is None:
        return error_reply(404, [_NO_ISSUE])
    if not asked.site.remove_link(issue.id, wanted):
        return error_reply(404, [f"A remote issue link with globalId '{wanted}' does not exist."])
    return Reply(204)


def _add_comment(asked: Asked) -> Reply:
    issue = asked.site.find(asked.named["key"])
    if issue is None:
        return error_reply(404, [_NO_ISSUE])
    asked.only("body", "properties", "visibility")
    body, properties = asked.body.get("body"), properties_of(asked.body.get("properties", []))
    if fault := comment_fault(body, adf=asked.is_cloud):
        raise Refusal(errors={"comment": fault})
    late = asked.fault.seconds if isinstance(asked.fault, CommitLate) else 0.0
    comment = asked.site.add_comment(issue.id, body, properties, late)
    return json_reply(201, asked.answers.comment(issue, comment, with_properties=True))


def _comments(asked: Asked) -> Reply:
    issue = asked.site.find(asked.named["key"])
    if issue is None:
        return error_reply(404, [_NO_ISSUE])
    start, most = (int(asked.query.get(*pair)) for pair in (("startAt", "0"), ("maxResults", "100")))
    found = issue.comments
    if asked.query.get("orderBy") == "-created":
        found = tuple(reversed(found))
    with_properties = "properties" in _listed(asked.query.get("expand", ""))
    shown = [
        asked.answers.comment(issue, comment, with_properties=with_properties)
        for comment in found[start : start + most]
    ]
    page = {"startAt": start, "maxResults": most, "total": len(found), "comments": shown}
    return json_reply(200, page)


def _listed(value: str) -> list[str]:
    return [name for name in value.split(",") if name]


@dataclass(frozen=True)
class Route:
    """An endpoint: ``path`` is a pattern of the path after ``/rest/api/{version}/``."""

    method: str
    path: re.Pattern[str]
    endpoint: str
    answer: Callable[[Asked], Reply]
    versions: str = "23"


_KEY: Final = r"(?P<key>[^/]+)"
_META: Final = r"issue/createmeta/(?P<project>[^/]+)/issuetypes"

ROUTES: Final = (
    Route("POST", re.compile("issue"), "create", _create),
    Route("POST", re.compile("issue/bulkfetch"), "bulkfetch", _bulkfetch, "3"),
    Route("GET", re.compile(f"issue/{_KEY}"), "get", _get),
    Route("POST", re.compile("search/jql"), "search", _search_jql, "3"),
    Route("POST", re.compile("search"), "search", _search),
    Route("GET", re.compile("myself"), "myself", _myself),
    Route("GET", re.compile("serverInfo"), "serverinfo", _server_info),
    Route("GET", re.compile(_META), "createmeta", _issue_types),
    Route("GET", re.compile(f"{_META}/(?P<type>[^/]+)"), "createmeta", _screen),
    Route("POST", re.compile(f"issue/{_KEY}/remotelink"), "remotelink", _put_link),
    Route("GET", re.compile(f"issue/{_KEY}/remotelink"), "remotelink", _links),
    Route("DELETE", re.compile(f"issue/{_KEY}/remotelink"), "remotelink", _remove_link),
    Route("POST", re.compile(f"issue/{_KEY}/comment"), "comment", _add_comment),
    Route("GET", re.compile(f"issue/{_KEY}/comment"), "comment", _comments),
)
