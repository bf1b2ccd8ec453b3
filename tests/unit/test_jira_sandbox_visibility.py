"""Who sees a ticket in the sandbox Jira, and how accounts are found."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.jira.accounts import Account, Audience, SecurityLevel
from sandbox.jira.fields import choices, screen
from sandbox.jira.kinds import security
from sandbox.jira.logins import SCOPED_TOKEN, Credential
from sandbox.jira.projects import IssueType
from sandbox.jira.site import JiraSite
from tests.support.jira_requests import MARKER, answer, basic, create_body, read, send, upload

ADA = "712020:sandbox-ada"
HIDDEN = {
    "errorMessages": ["Issue does not exist or you do not have permission to see it."],
    "errors": {},
}
OF_REPORTERS = Audience(everyone=False, reporter=True)


@pytest.fixture
def site() -> JiraSite:
    return JiraSite()


def found_by(site: JiraSite, version: str, **query: str) -> list[str]:
    people = answer(site, "GET", f"{version}/user/search", **query)[1]
    return [person["displayName"] for person in people]


@pytest.mark.parametrize("way", ["project", "level"])
def test_a_ticket_of_another_reporter_is_not_seen(way: str, site: JiraSite) -> None:
    """Where only reporters see tickets, one with another reporter is made and then hidden everywhere."""
    if way == "project":
        site.configure("PROJ", browse=OF_REPORTERS)
    else:
        level = SecurityLevel("10800", "Reporter only", OF_REPORTERS)
        site.configure("PROJ", levels=(level,), default_level="10800")
    assert answer(site, "POST", "3/issue", create_body(reporter={"id": ADA}))[0] == 201
    assert answer(site, "POST", "3/issue", create_body())[1]["key"] == "PROJ-2"
    search = {"jql": f'labels = "{MARKER}"', "fields": ["labels"]}
    status, said = answer(site, "POST", "3/search/jql", search)
    assert (status, [issue["key"] for issue in said["issues"]]) == (200, ["PROJ-2"])
    assert answer(site, "POST", "2/search", search)[1]["total"] == 1
    status, said = answer(site, "POST", "3/issue/bulkfetch", {"issueIdsOrKeys": ["PROJ-1", "PROJ-2"]})
    assert (status, [issue["key"] for issue in said["issues"]]) == (200, ["PROJ-2"])
    assert said["issueErrors"] == []
    for path in ("", "/comment", "/remotelink", "/properties"):
        assert answer(site, "GET", f"3/issue/PROJ-1{path}") == (404, HIDDEN)
    assert read(upload(site, "3/issue/PROJ-1/attachments", ("a.txt", b"A"))) == (404, HIDDEN)
    assert len(site.issues_with(MARKER)) == 2


def test_it_depends_on_the_account(site: JiraSite) -> None:
    """A ticket that only its reporter sees is hidden from another account until that one may see it."""
    site.configure("PROJ", browse=OF_REPORTERS)
    answer(site, "POST", "3/issue", create_body())
    site.logins.put(Credential("scoped", "of-ada", ADA, "ada@example.com"))
    path = f"/ex/jira/{site.cloud_id}/rest/api/3/issue/PROJ-1"
    mine, others = basic(site.email, SCOPED_TOKEN), basic("ada@example.com", "of-ada")
    assert read(send(site, "GET", path, None, mine))[0] == 200
    assert read(send(site, "GET", path, None, others)) == (404, HIDDEN)
    site.configure("PROJ", browse=Audience(everyone=False, accounts=frozenset((ADA,)), reporter=True))
    assert read(send(site, "GET", path, None, others))[0] == 200


def test_a_level_is_chosen(site: JiraSite) -> None:
    """A ticket shows the level that was chosen for it, which hides it from all but its audience."""
    staff = SecurityLevel("10800", "Staff only", Audience(everyone=False, accounts=frozenset((site.bot.id,))))
    others = SecurityLevel("10801", "Others", Audience(everyone=False))
    fields = {"security": security(choices(10_800, "Staff only", "Others"))}
    kind = IssueType("10001", "Task", screen(fields))
    site.configure("PROJ", levels=(staff, others), types=(kind,))
    answer(site, "POST", "3/issue", create_body(security={"id": "10800"}))
    answer(site, "POST", "3/issue", create_body(security={"name": "Others"}))
    answer(site, "POST", "3/issue", create_body())
    shown = [answer(site, "GET", f"3/issue/PROJ-{number}", fields="security") for number in (1, 2, 3)]
    assert shown[0][1]["fields"]["security"]["name"] == "Staff only"
    assert shown[1] == (404, HIDDEN)
    assert shown[2][1]["fields"]["security"] is None
    refused = answer(site, "POST", "3/issue", create_body(security={"id": "9"}))[1]
    assert refused["errors"] == {"security": "Security level id '9' is not valid"}


def test_people_are_found_by_address(site: JiraSite) -> None:
    """People are found by their address or a part of their name, on both kinds of Jira."""
    assert found_by(site, "3", query="ada@example.com") == ["Ada Example"]
    assert found_by(site, "2", username="ada@example.com") == ["Ada Example"]
    assert found_by(site, "3", query="EXAMPLE") == [
        "threadsync",
        "threadsync service",
        "Ada Example",
        "Grace Example",
        "Linus Example",
    ]
    assert found_by(site, "3", query="example", startAt="2", maxResults="2") == [
        "Ada Example",
        "Grace Example",
    ]
    assert found_by(site, "3", query="nobody@example.com") == []
    assert answer(site, "GET", "3/user/search", username="ada")[0] == 400
    assert answer(site, "GET", "2/user/search", query="ada")[0] == 400


def test_one_address_may_have_several_accounts(site: JiraSite) -> None:
    """Several accounts with one address are all found; an inactive one is not."""
    site.accounts.put(Account("1", "ada2", "ada@example.com", "Ada Again"))
    site.accounts.put(Account("2", "ada3", "ada@example.com", "Ada Gone", active=False))
    assert found_by(site, "3", query="ada@example.com") == ["Ada Example", "Ada Again"]


def test_an_address_may_be_hidden(site: JiraSite) -> None:
    """A hidden address finds its account, and is not told; Data Center tells it always."""
    site.accounts.put(Account("1", "eve", "eve@example.com", "Eve", shows_email=False))
    found: list[Any] = answer(site, "GET", "3/user/search", query="eve@example.com")[1]
    assert [(person["accountId"], "emailAddress" in person) for person in found] == [("1", False)]
    found = answer(site, "GET", "2/user/search", username="eve@example.com")[1]
    assert [(person["name"], person["emailAddress"]) for person in found] == [("eve", "eve@example.com")]


def test_tickets_are_assigned_to_people_only(site: JiraSite) -> None:
    """The search for people who can be assigned finds no app."""
    found = answer(site, "GET", "3/user/assignable/search", project="PROJ", query="service")[1]
    assert found == []
    found = answer(site, "GET", "3/user/assignable/search", project="PROJ", query="grace")[1]
    assert [person["displayName"] for person in found] == ["Grace Example"]
    assert answer(site, "GET", "3/user/assignable/search", project="NONE", query="grace")[0] == 404


@pytest.mark.parametrize(("version", "name", "value"), [("3", "accountId", ADA), ("2", "username", "ada")])
def test_one_account_is_read(version: str, name: str, value: str, site: JiraSite) -> None:
    """An account is read by account id on Cloud, and by user name on Data Center."""
    found = answer(site, "GET", f"{version}/user", **{name: value})[1]
    assert found["displayName"] == "Ada Example"
    assert answer(site, "GET", f"{version}/user", **{name: "nobody"})[0] == 404


def test_groups_are_searched(site: JiraSite) -> None:
    """Groups are found by a part of their name."""
    found = answer(site, "GET", "3/groups/picker", query="peo")[1]
    assert [group["name"] for group in found["groups"]] == ["people"]
    assert answer(site, "GET", "3/groups/picker")[1]["total"] == 2
