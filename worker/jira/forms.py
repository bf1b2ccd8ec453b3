"""Client of the calls of Jira that a form needs: projects, create screens, and accounts by e-mail address.

| | Cloud | Data Center |
|---|---|---|
| projects | `GET /project/search`, in pages | `GET /project`, all at once |
| issue types, fields | `GET /issue/createmeta/…`, in pages | the same, its pages named otherwise |
| account of an address | `GET /user/search?query=` | `GET /user/search?username=` |

Each call is sent once, and once more if Jira refused a token that has ended. An address is in no log and no
trace: both leave out what follows a path.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from threadsync.forms import Choice, FormField
from worker.http_once import HttpResponse, Unknown
from worker.jira import createmeta, parsing
from worker.jira.answers import CallFailed, Deployment
from worker.jira.client import JiraClient
from worker.jira.login.renewal import renewed_once
from worker.jira.paths import endpoint_of, issue_types_path, segment
from worker.jira.responses import content_of, failure_of, read

MOST_PROJECTS: Final = 200
_PROJECTS_PAGE: Final = 50
_PAGE: Final = 200
_MOST_PAGES: Final = 10
_USERS_PAGE: Final = 20


class JiraForms:
    """The calls. All raise `CallFailed` without a reliable response."""

    def __init__(self, client: JiraClient, deployment: Deployment) -> None:
        self._client = client
        self._deployment = deployment

    def projects(self, query: str | None = None) -> tuple[tuple[Choice, ...], bool]:
        """List projects in which the account may create tickets, and whether Jira has more than these.

        A Data Center lists those that the account may see.
        """
        if self._deployment == "datacenter":
            found = createmeta.projects(self._array("/project", {}))
            wanted = [item for item in found if not query or query.casefold() in item.label.casefold()]
            return tuple(wanted[:MOST_PROJECTS]), len(wanted) > MOST_PROJECTS
        params = {"action": "create", "orderBy": "key", **({"query": query} if query else {})}
        entries: list[Mapping[str, Any]] = []
        pages = self._pages("/project/search", params, _PROJECTS_PAGE, "values")
        for entry in pages:
            entries.append(entry)
            if len(entries) > MOST_PROJECTS:
                break
        return createmeta.projects(entries[:MOST_PROJECTS]), len(entries) > MOST_PROJECTS

    def issue_types(self, project_key: str) -> tuple[Choice, ...]:
        """List the issue types that tickets of a project may have."""
        path = issue_types_path(project_key)
        names = ("issueTypes", "createMetaIssueType", "values")
        return createmeta.issue_types(self._pages(path, {}, _PAGE, *names))

    def fields(self, project_key: str, issue_type_id: str) -> tuple[tuple[FormField, ...], tuple[str, ...]]:
        """List the fields that a form must ask for, and the names of those that it cannot ask for."""
        path = f"{issue_types_path(project_key)}/{segment(issue_type_id)}"
        entries = self._pages(path, {}, _PAGE, "fields", "results", "values")
        return createmeta.form_fields(entries, self._deployment)

    def account_of(self, address: str) -> str | None:
        """Return the one account with this e-mail address: its id, or its name on a Data Center; else None.

        An account whose address Jira hides counts if the search finds no other.
        """
        is_cloud = self._deployment == "cloud"
        params = {"query" if is_cloud else "username": address, "maxResults": str(_USERS_PAGE)}
        people = [person for person in self._array("/user/search", params) if _is_person(person)]
        shown = [person for person in people if person.get("emailAddress")]
        exact = [person for person in shown if _has(person, address)]
        hidden = [person for person in people if not person.get("emailAddress")]
        found = exact or (hidden if len(people) == 1 else [])
        name = found[0].get("accountId" if is_cloud else "name") if len(found) == 1 else None
        return name if isinstance(name, str) and name else None

    def _pages(
        self, path: str, params: Mapping[str, str], size: int, *names: str
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the entries of all pages; ``isLast``, ``total`` or an empty page tells the end."""
        count = 0
        for _ in range(_MOST_PAGES):
            asked = {**params, "startAt": str(count), "maxResults": str(size)}
            content = content_of(self._ask(path, asked), endpoint_of(path))
            page = read(lambda content: parsing.page(content, *names), content)
            yield from page
            count += len(page)
            total = content.get("total")
            is_over = content.get("isLast")
            if is_over is None:
                is_over = not isinstance(total, int) or count >= total
            if not page or is_over is True:
                return

    def _array(self, path: str, params: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """Return the objects of a response that is an array."""
        answer = self._ask(path, params)
        if failed := failure_of(answer):
            raise CallFailed(failed, endpoint_of(path))
        try:
            content = json.loads(answer.content)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, list):
            raise CallFailed(Unknown("Jira's answer is not as documented: no list"), endpoint_of(path))
        return [item for item in content if isinstance(item, dict)]

    def _ask(self, path: str, params: Mapping[str, str]) -> HttpResponse:
        return renewed_once(lambda: self._client.ask(path, params))


def _is_person(person: Mapping[str, Any]) -> bool:
    return person.get("active") is not False and person.get("accountType", "atlassian") == "atlassian"


def _has(person: Mapping[str, Any], address: str) -> bool:
    return str(person.get("emailAddress")).casefold() == address.casefold()
