"""Client of Jira's REST API: the calls that make one ticket and never two.

| | Cloud | Data Center |
|---|---|---|
| all paths begin with | `/rest/api/3` | `/rest/api/2` |
| search | `POST /search/jql` | `POST /search` |
| tickets by key | `POST /issue/bulkfetch` | `GET /issue/{key}`, one by one |

Nothing is sent twice, no redirect is followed, every exchange has a deadline: see `worker.http_once`.
Where requests go, and as whom, is a matter of `worker.jira.login`; responses are classified by
`worker.jira.classification`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import monotonic, perf_counter
from types import TracebackType
from typing import Any, Final, Self

import httpx

from worker.http_once import HttpResponse, Unknown
from worker.jira import parsing
from worker.jira.answers import (
    AuthProblem,
    CallFailed,
    CreateAnswer,
    CreateField,
    Deployment,
    Failure,
    IssueType,
    JiraAccount,
    JiraIssue,
    Rejected,
)
from worker.jira.connection import NO_LOGIN, JiraConnection
from worker.jira.login.choice import sender_of
from worker.jira.paths import endpoint_of, issue_path, issue_types_path, segment
from worker.jira.responses import content_of, creation_of, failure_of, is_gone, label_of, read
from worker.observe import metrics
from worker.text.adf import document
from worker.text.slack_text import parse
from worker.text.wiki import wiki

MOST_KEYS: Final = 100

_MISSING_IN_A_ROW: Final = 10
_PAGE: Final = 200
_MOST_PAGES: Final = 10
_WANTED: Final = {"fields": ["labels"], "properties": [parsing.PROPERTY]}


class JiraClient:
    """Client of Jira, one per process. All but `create` raise `CallFailed` without a reliable response."""

    def __init__(
        self,
        account: JiraAccount,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._is_cloud = account.deployment == "cloud"
        self._timeout = account.timeout
        self._connection = JiraConnection(account, transport, clock)
        self.sender = sender_of(account)
        """Name of the account, for the attempts that it sends."""

    def create(
        self, fields: Mapping[str, Any], marker: str, attempt: int, requester: str | None = None
    ) -> CreateAnswer:
        """Create a ticket. No ``Exception`` is raised: a failure is in the return value.

        Nothing else is sent, so no token is renewed: one that has ended meanwhile is ``NotSent``.

        Args:
            fields: as `worker.jira.ticket` makes them.
            marker: goes into the entity property, with the number of the attempt.
            requester: goes there, too: the Slack id of the person who asked.
        """
        access = self._connection.access(is_committed=True)
        if access is None:
            return NO_LOGIN
        value: dict[str, Any] = {"marker": marker, "attempt": attempt}
        if requester:
            value["requester"] = requester
        body = {"fields": fields, "properties": [{"key": parsing.PROPERTY, "value": value}]}
        began = perf_counter()
        answer = self._connection.send(access, "POST", "/issue", body, fresh=True)
        became = creation_of(answer, fields) if isinstance(answer, HttpResponse) else answer
        metrics.jira_answered("create", label_of(became), perf_counter() - began)
        return self._connection.refused(became, access) if isinstance(became, AuthProblem) else became

    def search_label(self, label: str, limit: int = 5) -> tuple[JiraIssue, ...]:
        """Find tickets with the label. Jira's search finds a new one only after seconds or minutes."""
        return self._search(f"labels = {_quoted(label)}", limit)

    def newest_number(self, project_key: str) -> int:
        """Return the number of the project's newest ticket that the search knows; 0 if it knows none."""
        newest = self._search(f"project = {_quoted(project_key)} ORDER BY created DESC", 1)
        return read(parsing.number, newest[0].key) if newest else 0

    def fetch(self, keys: Sequence[str]) -> tuple[JiraIssue, ...]:
        """Read up to 100 tickets by key, without Jira's search; missing and hidden ones are left out.

        On a Data Center it stops at the tenth missing key in a row; all requests begin within one deadline.
        Raises ``ValueError`` for more than 100 keys.
        """
        if len(keys) > MOST_KEYS:
            raise ValueError(f"{len(keys)} keys at once; {MOST_KEYS} are possible")
        if not self._is_cloud:
            return self._fetch_one_by_one(keys)
        if not keys:
            return ()
        body = {"issueIdsOrKeys": [*keys], **_WANTED}
        return read(parsing.issues, self._call("POST", "/issue/bulkfetch", body))

    def get(self, id_or_key: str) -> JiraIssue | None:
        """Read one ticket; None if Jira says that there is none, or none that the account may see."""
        params = {"fields": "labels", "properties": parsing.PROPERTY}
        path = issue_path(id_or_key)
        answer = self._exchange("GET", path, params=params)
        if is_gone(failure_of(answer), answer):
            return None
        return read(parsing.issue, content_of(answer, endpoint_of(path)))

    def myself(self) -> None:
        """Return if Jira accepts the account."""
        self._call("GET", "/myself")

    def deployment(self) -> Deployment:
        """Ask Jira for its kind of deployment."""
        kind = str(self._call("GET", "/serverInfo").get("deploymentType") or "")
        return "cloud" if kind.casefold() == "cloud" else "datacenter"

    def issue_type(self, project_key: str, wanted: str) -> IssueType:
        """Find the project's issue type with this id or name; the name's case does not matter.

        Raises `CallFailed` with `Rejected` when the project has none.
        """
        kinds = self._pages(issue_types_path(project_key), "issueTypes", "createMetaIssueType", "values")
        known = [IssueType(str(kind.get("id")), str(kind.get("name"))) for kind in kinds]
        for matches in (
            lambda kind: wanted in (kind.id, kind.name),
            lambda kind: wanted.casefold() == kind.name.casefold(),
        ):
            if found := next(filter(matches, known), None):
                return found
        why = f"project {project_key} has no issue type {wanted!r}"
        raise CallFailed(Rejected(404, why, about="place"))

    def required_fields(self, project_key: str, issue_type: str) -> tuple[CreateField, ...]:
        """List the fields of the screen for a new ticket.

        Raises `CallFailed` with `Rejected` when the project has no such issue type.
        """
        kind = self.issue_type(project_key, issue_type)
        path = f"{issue_types_path(project_key)}/{segment(kind.id)}"
        return tuple(map(parsing.create_field, self._pages(path, "fields", "results", "values")))

    def put_remote_link(self, key: str, global_id: str, url: str, title: str) -> None:
        """Link the ticket to ``url``, in place of an earlier link with the same ``global_id``."""
        link = {"globalId": global_id, "object": {"url": url, "title": title}}
        self._call("POST", f"{issue_path(key)}/remotelink", link)

    def remove_remote_link(self, key: str, global_id: str) -> None:
        """Remove the link with this id. Returns too if there is none, or no such ticket."""
        path = f"{issue_path(key)}/remotelink"
        answer = self._exchange("DELETE", path, params={"globalId": global_id})
        failed = failure_of(answer)
        if answer.status != 204 and not is_gone(failed, answer):
            raise CallFailed(failed or Unknown("Jira's answer is not as documented"), endpoint_of(path))

    def comments(self, key: str) -> tuple[Mapping[str, Any], ...] | None:
        """Read the entity properties of the ticket's newest comments; None if it has gone."""
        path = f"{issue_path(key)}/comment"
        params = {"expand": "properties", "orderBy": "-created", "maxResults": str(_PAGE)}
        answer = self._exchange("GET", path, params=params)
        if is_gone(failure_of(answer), answer):
            return None
        return read(parsing.comment_properties, content_of(answer, endpoint_of(path)))

    def add_comment(self, key: str, text: str, property_key: str, value: Mapping[str, Any]) -> bool:
        """Comment on the ticket, once; False if it has gone. As with `create`, no token is renewed for it.

        Args:
            text: in Slack's notation.
            value: of the comment's entity property, by which it is found again.
        """
        body = document(parse(text)) if self._is_cloud else wiki(parse(text))
        content = {"body": body, "properties": [{"key": property_key, "value": value}]}
        path = f"{issue_path(key)}/comment"
        answer = self._exchange("POST", path, content, fresh=True)
        if is_gone(failure_of(answer), answer):
            return False
        content_of(answer, endpoint_of(path))
        return True

    def granted_scopes(self) -> frozenset[str]:
        """Return the scopes of an OAuth login, where its token server says them; else none."""
        return self._connection.granted_scopes()

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        fresh: bool = False,
    ) -> HttpResponse:
        """Send one request; return the response of any status. Raises `CallFailed` without a response.

        Args:
            content: sent as it is, in place of ``body``, which is sent as JSON.
            timeout: seconds for this request, in place of the account's.
        """
        own = {"content": content, "headers": headers, "timeout": timeout}
        return self._exchange(method, path, body, params, fresh=fresh, **own)

    def ask(self, path: str, params: Mapping[str, str] | None = None) -> HttpResponse:
        """Read ``path`` below the API's base, once; the response may be of any status."""
        return self._exchange("GET", path, params=params)

    def close(self) -> None:
        """Close the connections. May be repeated; the next call opens them again."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _search(self, jql: str, limit: int) -> tuple[JiraIssue, ...]:
        body: dict[str, Any] = {"jql": jql, "maxResults": limit, "fields": ["labels"]}
        if self._is_cloud:
            # A Data Center's search has no such key.
            body["properties"] = [parsing.PROPERTY]
        content = self._call("POST", "/search/jql" if self._is_cloud else "/search", body)
        found = read(parsing.issues, content)
        if not found and content.get("nextPageToken"):
            raise CallFailed(Unknown("Jira's search gave an empty page, and said that there are more"))
        return found

    def _fetch_one_by_one(self, keys: Sequence[str]) -> tuple[JiraIssue, ...]:
        end = monotonic() + self._timeout
        found: list[JiraIssue] = []
        missing = 0
        for key in keys:
            if monotonic() > end:
                raise CallFailed(Unknown(f"Jira was too slow: {len(found)} tickets seen of {len(keys)}"))
            if issue := self.get(key):
                found.append(issue)
            missing = 0 if issue else missing + 1
            if missing == _MISSING_IN_A_ROW:
                break
        return tuple(found)

    def _pages(self, path: str, *names: str) -> list[Mapping[str, Any]]:
        entries: list[Mapping[str, Any]] = []
        for _ in range(_MOST_PAGES):
            params = {"startAt": str(len(entries)), "maxResults": str(_PAGE)}
            content = self._call("GET", path, params=params)
            page = read(lambda content: parsing.page(content, *names), content)
            entries += page
            total = content.get("total")
            if not page or not isinstance(total, int) or len(entries) >= total:
                break
        return entries

    def _call(
        self, method: str, path: str, body: Any = None, params: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        return content_of(self._exchange(method, path, body, params), endpoint_of(path))

    def _exchange(
        self,
        method: str,
        path: str,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        *,
        fresh: bool = False,
        **own: Any,
    ) -> HttpResponse:
        access = self._connection.access(is_committed=fresh)
        if access is None:
            raise CallFailed(NO_LOGIN, endpoint_of(path))
        began = perf_counter()
        answer = self._connection.send(access, method, path, body, params, fresh=fresh, **own)
        became = failure_of(answer) if isinstance(answer, HttpResponse) else answer
        metrics.jira_answered(endpoint_of(path), label_of(became), perf_counter() - began)
        if isinstance(became, AuthProblem):
            became = self._connection.refused(became, access)
        if not isinstance(answer, HttpResponse) or _is_renewed(became):
            assert became is not None  # noqa: S101 - what is no response is a failure
            raise CallFailed(became, endpoint_of(path))
        return answer


def _is_renewed(became: Failure | None) -> bool:
    return isinstance(became, AuthProblem) and became.is_renewed


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
