"""The sandbox Jira before requests that no client should send."""

from __future__ import annotations

import json
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from sandbox.jira.endpoints import ROUTES
from sandbox.jira.replies import Reply, Request
from sandbox.jira.routes import respond
from sandbox.jira.showcase import showcase
from sandbox.jira.site import JiraSite
from tests.support.jira_requests import adf, basic, create_body

PATHS: Final = {
    "(?P<key>[^/]+)": "PROJ-1",
    "(?P<comment>[^/]+)": "10000",
    r"(?P<comment>\d+)": "10000",
    "(?P<property>[^/]+)": "threadsync",
    "(?P<project>[^/]+)": "FORMS",
    "(?P<type>[^/]+)": "10001",
    r"(?P<attachment>\d+)": "10000",
}
NAMES: Final = (
    *("fields", "properties", "jql", "maxResults", "nextPageToken", "startAt", "issueIdsOrKeys", "body"),
    *("globalId", "object", "url", "title", "key", "value", "id", "name", "accountId", "child", "type"),
    *("project", "issuetype", "summary", "description", "labels", "reporter", "assignee", "priority"),
    *("components", "versions", "parent", "customfield_10039", "customfield_10041", "version", "content"),
)
LEAVES: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.sampled_from(["FORMS", "PROJ", "Task", "10001", "10100", "doc", "PROJ-1", 'labels = "slk-abc"']),
)
JUNK: Final = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=6)
    ),
    max_leaves=20,
)
QUERIES: Final = st.dictionaries(
    st.sampled_from(["startAt", "maxResults", "orderBy", "expand", "fields", "query", "username", "project"]),
    st.one_of(st.text(max_size=8), st.just("9" * 5_000), st.just("properties")),
    max_size=3,
)


def path_of(pattern: str) -> str:
    """Return a path that the pattern matches, with things that exist."""
    for group, name in PATHS.items():
        pattern = pattern.replace(group, name)
    return pattern


def junk_create(fields: Any) -> Any:
    """Return a create whose fields are junk beside the good ones."""
    body = create_body(project={"key": "FORMS"})
    return {**body, "fields": {**body["fields"], **fields}} if isinstance(fields, dict) else body


@given(
    route=st.sampled_from(ROUTES),
    version=st.sampled_from("23"),
    body=st.one_of(JUNK, JUNK.map(junk_create)).map(lambda value: json.dumps(value).encode()) | st.binary(),
    query=QUERIES,
)
def test_junk_is_refused_or_taken(route: Any, version: str, body: bytes, query: dict[str, str]) -> None:
    """Whatever is sent to an endpoint, it has a response of Jira's kind, and the tickets can be read."""
    site = showcase(JiraSite())
    headers = {"authorization": basic(site.email, site.token)}
    for path, good in (("issue", create_body()), ("issue/PROJ-1/comment", {"body": adf("Note")})):
        respond(site, Request("POST", f"/rest/api/3/{path}", {}, headers, json.dumps(good).encode()))
    path = f"/rest/api/{version}/{path_of(route.path.pattern)}"
    reply = respond(site, Request(route.method, path, query, headers, body))
    assert isinstance(reply, Reply)
    assert reply.status in (200, 201, 204, 400, 403, 404, 405, 410, 413, 415)
    for issue in site.issues:
        for read in (f"issue/{issue.key}", f"issue/{issue.key}/comment", f"issue/{issue.key}/remotelink"):
            shown = respond(site, Request("GET", f"/rest/api/{version}/{read}", {}, headers, b""))
            assert isinstance(shown, Reply)
            assert shown.status == 200
