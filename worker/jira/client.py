"""Jira's REST API, as far as it takes to make one ticket and never two.

| | Cloud | Data Center |
|---|---|---|
| all paths begin with | `/rest/api/3` | `/rest/api/2` |
| search | `POST /search/jql` | `POST /search` |
| tickets by key | `POST /issue/bulkfetch` | `GET /issue/{key}`, one by one |

Nothing is sent twice, no redirect is followed, every exchange has a deadline: see `worker.http_once`.
What an answer means is in `worker.jira.classification`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic, perf_counter
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx

from worker.http_once import HttpOnce, HttpResponse, Unknown
from worker.jira import classification
from worker.jira import parsing as contents
from worker.jira.answers import (
    CallFailed,
    CreateAnswer,
    Created,
    CreateField,
    Deployment,
    Failure,
    IssueType,
    JiraAccount,
    JiraIssue,
    Rejected,
)
from worker.jira.paths import endpoint_of, issue_path, issue_types_path, segment
from worker.observe import metrics
from worker.text.adf import document_of
from worker.text.wiki import wiki_of

T = TypeVar("T")

MOST_KEYS: Final = 100
MOST_BYTES: Final = 16_000_000
"""The largest answer that we ask for is a page of a create screen with all its options."""

_MISSING_IN_A_ROW: Final = 10
_PAGE: Final = 200
_MOST_PAGES: Final = 10
_WANTED: Final = {"fields": ["labels"], "properties": [contents.PROPERTY]}


class JiraClient:
    """One a process. Threads wait for each other; not for use within an event loop.

    Every method but `create` raises `CallFailed` when there is no answer to rely on.

    Args:
        transport: for tests, in place of sockets.
    """

    def __init__(self, account: JiraAccount, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._is_cloud = account.deployment == "cloud"
        self._timeout = account.timeout
        base = f"{account.url.strip().rstrip('/')}/rest/api/{3 if self._is_cloud else 2}"
        self._http = HttpOnce(
            "Jira",
            base,
            {"Accept": "application/json", "Authorization": _authorization(account)},
            timeout=account.timeout,
            most_bytes=MOST_BYTES,
            transport=transport,
        )

    def create(self, fields: Mapping[str, Any], marker: str, attempt: int) -> CreateAnswer:
        """Make a ticket. It raises no ``Exception``: what went wrong is in the answer.

        Args:
            fields: as `worker.jira.ticket` makes them.
            marker: goes into the entity property, with the number of the attempt.
        """
        value = {"marker": marker, "attempt": attempt}
        body = {"fields": fields, "properties": [{"key": contents.PROPERTY, "value": value}]}
        began = perf_counter()
        answer = self._http.exchange("POST", "/issue", body, fresh=True)
        became = _creation(answer) if isinstance(answer, HttpResponse) else answer
        metrics.jira_answered("create", _label(became), perf_counter() - began)
        return became

    def search_label(self, label: str, limit: int = 5) -> tuple[JiraIssue, ...]:
        """Tickets with the label. Jira's search finds a new one after seconds or minutes, not at once."""
        return self._search(f"labels = {_quoted(label)}", limit)

    def newest_number(self, project_key: str) -> int:
        """The number of the project's newest ticket that the search knows; 0 if it knows none."""
        newest = self._search(f"project = {_quoted(project_key)} ORDER BY created DESC", 1)
        return _read(contents.number, newest[0].key) if newest else 0

    def fetch(self, keys: Sequence[str]) -> tuple[JiraIssue, ...]:
        """Those of up to 100 tickets that exist and that we may see. It does not go through Jira's search.

        On a Data Center it stops at the tenth key in a row that there is no ticket for; all that asking
        begins within one deadline.
        Raises ``ValueError`` for more than 100 keys.
        """
        if len(keys) > MOST_KEYS:
            raise ValueError(f"{len(keys)} keys at once; {MOST_KEYS} are possible")
        if not self._is_cloud:
            return self._fetch_one_by_one(keys)
        if not keys:
            return ()
        body = {"issueIdsOrKeys": [*keys], **_WANTED}
        return _read(contents.issues, self._call("POST", "/issue/bulkfetch", body))

    def get(self, id_or_key: str) -> JiraIssue | None:
        """One ticket; None if Jira says that there is none, or none that we may see."""
        params = {"fields": "labels", "properties": contents.PROPERTY}
        path = issue_path(id_or_key)
        answer = self._exchange("GET", path, params=params)
        if _is_gone(_failure(answer), answer):
            return None
        return _read(contents.issue, _content(answer, endpoint_of(path)))

    def myself(self) -> None:
        """Return if Jira knows us."""
        self._call("GET", "/myself")

    def deployment(self) -> Deployment:
        """What Jira says that it is."""
        kind = str(self._call("GET", "/serverInfo").get("deploymentType") or "")
        return "cloud" if kind.casefold() == "cloud" else "datacenter"

    def issue_type(self, project_key: str, wanted: str) -> IssueType:
        """The project's issue type with this id or name, of which the case does not matter here.

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
        """What the screen for a new ticket has, and which of it must be filled.

        Raises `CallFailed` with `Rejected` when the project has no such issue type.
        """
        kind = self.issue_type(project_key, issue_type)
        path = f"{issue_types_path(project_key)}/{segment(kind.id)}"
        return tuple(map(contents.create_field, self._pages(path, "fields", "results", "values")))

    def put_remote_link(self, key: str, global_id: str, url: str, title: str) -> None:
        """Link the ticket to ``url``, in place of an earlier link with the same ``global_id``."""
        link = {"globalId": global_id, "object": {"url": url, "title": title}}
        self._call("POST", f"{issue_path(key)}/remotelink", link)

    def remove_remote_link(self, key: str, global_id: str) -> None:
        """Take the link with this id off the ticket. Returns too if there is none, or no such ticket."""
        path = f"{issue_path(key)}/remotelink"
        answer = self._exchange("DELETE", path, params={"globalId": global_id})
        failed = _failure(answer)
        if answer.status != 204 and not _is_gone(failed, answer):
            raise CallFailed(failed or Unknown("Jira's answer is not as documented"), endpoint_of(path))

    def comments(self, key: str) -> tuple[Mapping[str, Any], ...] | None:
        """The entity properties of the ticket's newest comments, by their key; None if it has gone."""
        path = f"{issue_path(key)}/comment"
        params = {"expand": "properties", "orderBy": "-created", "maxResults": str(_PAGE)}
        answer = self._exchange("GET", path, params=params)
        if _is_gone(_failure(answer), answer):
            return None
        return _read(contents.comment_properties, _content(answer, endpoint_of(path)))

    def add_comment(self, key: str, text: str, property_key: str, value: Mapping[str, Any]) -> bool:
        """Comment on the ticket, once; False if it has gone.

        Args:
            text: in Slack's notation.
            value: of the comment's entity property, by which it is found again.
        """
        body = document_of(text) if self._is_cloud else wiki_of(text)
        content = {"body": body, "properties": [{"key": property_key, "value": value}]}
        path = f"{issue_path(key)}/comment"
        answer = self._exchange("POST", path, content, fresh=True)
        if _is_gone(_failure(answer), answer):
            return False
        _content(answer, endpoint_of(path))
        return True

    def close(self) -> None:
        """Close the connections. May be repeated; the next call opens them again."""
        self._http.close()

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
            body["properties"] = [contents.PROPERTY]
        content = self._call("POST", "/search/jql" if self._is_cloud else "/search", body)
        found = _read(contents.issues, content)
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
            page = _read(lambda content: contents.page(content, *names), content)
            entries += page
            total = content.get("total")
            if not page or not isinstance(total, int) or len(entries) >= total:
                break
        return entries

    def _call(
        self, method: str, path: str, body: Any = None, params: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        return _content(self._exchange(method, path, body, params), endpoint_of(path))

    def _exchange(
        self,
        method: str,
        path: str,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        *,
        fresh: bool = False,
    ) -> HttpResponse:
        began = perf_counter()
        answer = self._http.exchange(method, path, body, params=params, fresh=fresh)
        became = _failure(answer) if isinstance(answer, HttpResponse) else answer
        metrics.jira_answered(endpoint_of(path), _label(became), perf_counter() - began)
        if not isinstance(answer, HttpResponse):
            raise CallFailed(answer, endpoint_of(path))
        return answer


def _content(answer: HttpResponse, request: str) -> dict[str, Any]:
    """The JSON of an answer that is a success. Raises `CallFailed`."""
    failed, content = _failure(answer), _object(answer)
    if failed is None and content is not None:
        return content
    why = f"Jira answered {answer.status}, but not in readable JSON"
    unclear = Unknown(why, answer.status, classification.trace_id(answer.headers))
    raise CallFailed(failed or unclear, request)


def _creation(answer: HttpResponse) -> CreateAnswer:
    return classification.creation(answer.status, answer.headers, answer.content, datetime.now(UTC))


def _label(became: CreateAnswer | Failure | None) -> str:
    """Of a metric."""
    return "ok" if became is None or isinstance(became, Created) else type(became).__name__


def _failure(answer: HttpResponse) -> Failure | None:
    return classification.failure(answer.status, answer.headers, answer.content, datetime.now(UTC))


def _object(answer: HttpResponse) -> dict[str, Any] | None:
    return classification.json_object(answer.content)


def _is_gone(failed: Failure | None, answer: HttpResponse) -> bool:
    """Jira itself knows no such thing; without JSON it is something in front of Jira that does not."""
    return isinstance(failed, Rejected) and failed.status == 404 and _object(answer) is not None


def _read(reader: Callable[[Any], T], content: Any) -> T:
    try:
        return reader(content)
    except contents.Unreadable as exc:
        raise CallFailed(Unknown(f"Jira's answer is not as documented: {exc}")) from exc


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _authorization(account: JiraAccount) -> bytes:
    if not account.email:
        return b"Bearer " + account.token.encode()
    return b"Basic " + base64.b64encode(f"{account.email}:{account.token}".encode())
