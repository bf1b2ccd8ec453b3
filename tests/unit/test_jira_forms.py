"""Client of the calls of Jira that a form needs, in both dialects, and what becomes of its failures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx
import pytest

from tests.support.create_screens import DEPLOYMENTS, EXPECTED, UNASKABLE, golden
from threadsync.forms import FormFields, IssueTypeList, ProjectList
from worker.db.syncs.store import SyncStore
from worker.jira import form_lookups
from worker.jira.answers import CallFailed, Deployment, JiraAccount
from worker.jira.client import JiraClient
from worker.jira.forms import MOST_PROJECTS, JiraForms
from worker.jira.refusal import by_field
from worker.jira.setup import Setup, Target

Responder = Callable[[httpx.Request], httpx.Response]
ADDRESS = "ann@example.com"


class Jira(httpx.MockTransport):
    """A Jira that answers by a function, and keeps what it was asked."""

    def __init__(self, answer: Responder) -> None:
        self.asked: list[httpx.URL] = []

        def respond(request: httpx.Request) -> httpx.Response:
            self.asked.append(request.url)
            return answer(request)

        super().__init__(respond)


OPEN: Final[list[JiraClient]] = []


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    """Close the clients of a test."""
    yield
    while OPEN:
        OPEN.pop().close()


def client_of(jira: Jira, deployment: Deployment = "cloud") -> JiraClient:
    client = JiraClient(JiraAccount("https://jira.example", None, "secret", deployment), jira)
    OPEN.append(client)
    return client


def forms(answer: Responder, deployment: Deployment = "cloud") -> tuple[JiraForms, Jira]:
    jira = Jira(answer)
    return JiraForms(client_of(jira, deployment), deployment), jira


def paged(name: str, entries: list[Any], size: int, *, with_last: bool) -> Responder:
    """Answer with pages of at most ``size`` entries, whatever is asked for."""

    def answer(request: httpx.Request) -> httpx.Response:
        start = int(request.url.params["startAt"])
        page: dict[str, Any] = {name: entries[start : start + size], "startAt": start, "maxResults": size}
        is_last = start + size >= len(entries)
        return httpx.Response(
            200, json=page | ({"isLast": is_last} if with_last else {"total": len(entries)})
        )

    return answer


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
@pytest.mark.parametrize("with_last", [True, False])
def test_screens_are_read_page_by_page(deployment: Deployment, with_last: bool) -> None:
    """A screen is read to its end, whatever size its pages have and whichever way they tell the end."""
    name = "fields" if deployment == "cloud" else "values"
    entries = golden(f"createmeta-{deployment}")[name]
    client, jira = forms(paged(name, entries, 7, with_last=with_last), deployment)
    fields, unaskable = client.fields("PROJ", "10001")
    assert [item.label for item in fields] == [row[0] for row in EXPECTED]
    assert unaskable == UNASKABLE
    assert len(jira.asked) == -(-len(entries) // 7)
    version = 3 if deployment == "cloud" else 2
    assert {url.path for url in jira.asked} == {f"/rest/api/{version}/issue/createmeta/PROJ/issuetypes/10001"}


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_issue_types(deployment: Deployment) -> None:
    """Issue types come from the project's create screens, without those of sub-tasks."""
    client, _ = forms(
        lambda request: httpx.Response(200, json=golden(f"issuetypes-{deployment}")), deployment
    )
    assert [item.label for item in client.issue_types("PROJ")] == ["Task", "Bug", "Epic"]


def project(number: int) -> dict[str, str]:
    return {"id": str(number), "key": f"P{number:04}", "name": f"Project {number}"}


def test_projects_of_cloud_are_those_for_new_tickets() -> None:
    """Cloud is asked for projects in which the account may create, page by page, up to a limit."""
    client, jira = forms(paged("values", [project(n) for n in range(120)], 50, with_last=True))
    found, more = client.projects("pro")
    assert (len(found), more, len(jira.asked)) == (120, False, 3)
    assert jira.asked[0].params["action"] == "create"
    assert jira.asked[0].params["query"] == "pro"
    many, _ = forms(paged("values", [project(n) for n in range(400)], 50, with_last=True))
    found, more = many.projects()
    assert (len(found), more) == (MOST_PROJECTS, True)


def test_projects_of_a_data_center_come_at_once() -> None:
    """A Data Center lists all projects at once, and the query is applied here."""
    client, jira = forms(
        lambda request: httpx.Response(200, json=[project(n) for n in range(12)]), "datacenter"
    )
    found, more = client.projects("p0001")
    assert ([item.id for item in found], more) == (["P0001"], False)
    assert [url.path for url in jira.asked] == ["/rest/api/2/project"]


def person(name: str, **more: Any) -> dict[str, Any]:
    return {"accountId": f"acc-{name}", "name": name, "accountType": "atlassian", "active": True, **more}


@pytest.mark.parametrize(
    ("people", "account"),
    [
        ([person("ann", emailAddress="Ann@Example.com")], "ann"),
        ([person("ann")], "ann"),
        ([person("ann", emailAddress=ADDRESS), person("anna", emailAddress="anna@example.com")], "ann"),
        ([person("ann", emailAddress=ADDRESS), person("other")], "ann"),
        ([person("anna", emailAddress="anna@example.com")], None),
        ([person("ann"), person("anna")], None),
        ([person("ann", emailAddress=ADDRESS), person("ann2", emailAddress=ADDRESS)], None),
        ([person("ann", emailAddress=ADDRESS, active=False)], None),
        ([person("app", accountType="app")], None),
        ([], None),
    ],
)
@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_an_address_has_exactly_one_account(
    people: list[dict[str, Any]], account: str | None, deployment: Deployment
) -> None:
    """An address leads to an account only if it is exactly one person's; an unseen address must be alone."""
    client, jira = forms(lambda request: httpx.Response(200, json=people), deployment)
    found = client.account_of(ADDRESS)
    expected = account if deployment == "datacenter" or account is None else f"acc-{account}"
    assert found == expected
    (url,) = jira.asked
    assert url.params["query" if deployment == "cloud" else "username"] == ADDRESS


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (404, {"errorMessages": ["No project"]}, "no_such_project"),
        (400, {"errorMessages": ["No project"]}, "no_such_project"),
        (401, {"message": "no"}, "refused"),
        (403, {"message": "no"}, "refused"),
        (410, {}, "refused"),
        (429, {}, "no_answer"),
        (503, "busy", "no_answer"),
        (200, "<html>log in</html>", "refused"),
        (200, {"what": 1}, "no_answer"),
        (200, 7, "no_answer"),
        (403, "<html>edge</html>", "no_answer"),
    ],
)
def test_a_failure_is_an_outcome(status: int, body: Any, outcome: Any) -> None:
    """What Jira does not answer becomes an outcome of the lookup, never an error of the worker."""

    def answer(request: httpx.Request) -> httpx.Response:
        content = body if isinstance(body, str) else json.dumps(body)
        return httpx.Response(status, text=content)

    setup = setup_of(answer)
    assert form_lookups.form_fields(setup, "PROJ", None) == FormFields(outcome=outcome, project_key="PROJ")
    assert form_lookups.issue_types(setup, "PROJ") == IssueTypeList(outcome=outcome, project_key="PROJ")
    assert form_lookups.projects(setup, None) == ProjectList(outcome=outcome)


def setup_of(answer: Responder, project_key: str | None = "PROJ", issue_type: str = "Bug") -> Setup:
    account = JiraAccount("https://jira.example", None, "secret")
    target = Target(account, "jira.example", project_key, issue_type, 600.0, 1)
    return Setup(SyncStore(), client_of(Jira(answer)), target)


def jira_with_everything(request: httpx.Request) -> httpx.Response:
    of_types = request.url.path.endswith("/issuetypes")
    return httpx.Response(200, json=golden("issuetypes-cloud" if of_types else "createmeta-cloud"))


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [(None, "10002"), ("10001", "10001"), ("epic", "10000"), ("Sub-task", "10002"), ("Unknown", "10002")],
)
def test_fields_are_of_the_wanted_type_or_of_the_settings(wanted: str | None, chosen: str) -> None:
    """The fields are those of the wanted type by id or name, else of the settings', else of the first."""
    found = form_lookups.form_fields(setup_of(jira_with_everything), None, wanted)
    assert (found.outcome, found.project_key, found.issue_type) == ("known", "PROJ", chosen)
    assert [item.label for item in found.issue_types] == ["Task", "Bug", "Epic"]
    assert len(found.fields) == len(EXPECTED)
    first = form_lookups.form_fields(setup_of(jira_with_everything, issue_type="None"), "PROJ", wanted)
    assert first.issue_type == (chosen if wanted in ("10001", "epic") else "10001")


def test_without_a_project_nothing_is_asked() -> None:
    """Without a project in question and settings Jira is not asked; without a Jira nothing is."""
    setup = setup_of(lambda request: pytest.fail("asked"), project_key=None)
    assert form_lookups.form_fields(setup, None, None) == FormFields(outcome="no_such_project")
    assert form_lookups.form_fields(None, "PROJ", None) == FormFields(outcome="not_configured")
    assert form_lookups.projects(None, None) == ProjectList(outcome="not_configured")
    assert form_lookups.issue_types(None, "PROJ") == IssueTypeList(outcome="not_configured")


def test_a_project_without_types_is_none() -> None:
    """A project in which the account may create nothing counts as one that does not exist."""
    empty = json.dumps({"issueTypes": [], "total": 0})
    setup = setup_of(lambda request: httpx.Response(200, text=empty))
    assert form_lookups.form_fields(setup, "PROJ", None).outcome == "no_such_project"
    assert form_lookups.issue_types(setup, "PROJ").outcome == "no_such_project"


def test_a_list_that_is_none_is_a_failure() -> None:
    """A response in place of a list is a failure that quotes nothing of it."""
    client, _ = forms(lambda request: httpx.Response(200, json={"secret": "x"}))
    with pytest.raises(CallFailed) as caught:
        client.account_of(ADDRESS)
    assert "secret" not in str(caught.value)
    assert ADDRESS not in str(caught.value)


@pytest.mark.parametrize(
    ("detail", "fields"),
    [
        (
            "summary: You must specify a summary.\ncustomfield_1: Team is required.",
            {"summary": "You must specify a summary.", "customfield_1": "Team is required."},
        ),
        ("Jira refused the request (400)", {"": "Jira refused the request (400)"}),
        ("Not today.\nNot at all.\nduedate: a: b", {"": "Not today. Not at all.", "duedate": "a: b"}),
        ("two words: are no field", {"": "two words: are no field"}),
        ("", {}),
    ],
)
def test_jiras_words_by_field(detail: str, fields: dict[str, str]) -> None:
    """Jira's words of a refusal are told apart by the field that each is about."""
    assert by_field(detail) == fields
