"""Fields of a new ticket in the sandbox Jira: what it takes, shows and refuses, kind after kind."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.jira.accounts import SERVICE_ID
from sandbox.jira.showcase import DEFAULTS, FIELDS, MANY, showcase
from sandbox.jira.site import JiraSite
from tests.support.jira_requests import adf, answer

ADA = "712020:sandbox-ada"
LONG = "The entered text is too long. It exceeds the allowed limit of 255 characters."
GOOD: dict[str, Any] = {
    "customfield_10030": "Example Ltd",
    "customfield_10031": adf("Press the button."),
    "customfield_10032": 2.5,
    "customfield_10033": "2026-12-01",
    "customfield_10034": "2026-11-30T17:30:00.000+0000",
    "customfield_10035": {"id": "10100"},
    "customfield_10036": {"value": "Major"},
    "customfield_10037": [{"id": "10600"}, {"value": "West"}],
    "customfield_10038": [{"id": "10700"}],
    "customfield_10039": {"id": "10200", "child": {"id": "10202"}},
    "customfield_10040": {"accountId": ADA},
    "customfield_10041": {"name": "people"},
    "customfield_10042": {"name": "1.1"},
    "customfield_10043": ["red", "hot"],
    "customfield_10044": "https://status.example.com/board?id=1",
    "versions": [{"id": "10300"}],
    "fixVersions": [{"name": "2.0"}],
    "components": [{"name": "Backend"}, {"id": "10401"}],
    "duedate": "2026-12-24",
    "environment": adf("A printer."),
}
"""A value of each kind, as Cloud takes it."""
ON_A_DATA_CENTER: dict[str, Any] = {
    **GOOD,
    "customfield_10031": "Press the button.",
    "customfield_10040": {"name": "ada"},
    "environment": "A printer.",
}

BAD: list[tuple[str, Any, str]] = [
    ("customfield_10030", 7, "Operation value must be a string"),
    ("customfield_10030", "x" * 256, LONG),
    (
        "customfield_10031",
        "text",
        "Operation value must be an Atlassian Document (see the Atlassian Document Format)",
    ),
    ("customfield_10032", "2.5", "Operation value must be a number"),
    ("customfield_10032", True, "Operation value must be a number"),
    ("customfield_10033", "01/12/2026", "Error parsing date string: 01/12/2026"),
    ("customfield_10033", "2026-02-30", "Error parsing date string: 2026-02-30"),
    ("customfield_10034", "2026-11-30", "Error parsing time: 2026-11-30"),
    ("customfield_10034", "2026-11-30T25:00:00.000+0000", "Error parsing time: 2026-11-30T25:00:00.000+0000"),
    ("customfield_10035", "Red", "Could not find valid 'id' or 'value' in the Parent Option object."),
    ("customfield_10035", {"id": "10600"}, "Option id '10600' is not valid"),
    ("customfield_10035", {"value": "Pink"}, "Option value 'Pink' is not valid"),
    ("customfield_10037", {"id": "10600"}, "data was not an array"),
    ("customfield_10037", [{"id": "1"}], "Option id '1' is not valid"),
    ("customfield_10039", {"id": "10200", "child": {"id": "10301"}}, "Option id '10301' is not valid"),
    (
        "customfield_10039",
        {"id": "10200", "child": "Berlin"},
        "Could not find valid 'id' or 'value' in the Child Option object.",
    ),
    ("customfield_10040", {"accountId": "nobody"}, "User 'nobody' does not exist."),
    ("customfield_10040", {"name": "ada"}, "User 'None' does not exist."),
    ("customfield_10041", {"name": "nobodies"}, "Group name 'nobodies' is not a valid group."),
    ("customfield_10042", {"name": "9.9"}, "Version name '9.9' is not valid"),
    ("customfield_10043", ["two words"], "The label 'two words' contains spaces which is invalid."),
    ("customfield_10044", "not an address", "The URL 'not an address' is not valid."),
    ("versions", [{"id": "9"}], "Version id '9' is not valid"),
    ("components", [{"name": "Cellar"}], "Component name 'Cellar' is not valid"),
    ("components", ["Backend"], "Could not find valid 'id' or 'name' in the Component object."),
    ("priority", {"name": "Urgent"}, "Priority name 'Urgent' is not valid"),
    ("priority", "High", "Could not find valid 'id' or 'name' in the Priority object."),
    ("assignee", {"accountId": SERVICE_ID}, f"User '{SERVICE_ID}' cannot be assigned issues."),
]


@pytest.fixture
def site() -> JiraSite:
    return showcase(JiraSite())


def create(
    site: JiraSite, kind: str, given: dict[str, Any], version: str = "3", project: str = "FORMS"
) -> tuple[int, Any]:
    fields = {"project": {"key": project}, "issuetype": {"name": kind}, "summary": "Fire", **given}
    return answer(site, "POST", f"{version}/issue", {"fields": fields})


def shown(site: JiraSite, key: str, version: str = "3") -> dict[str, Any]:
    fields: dict[str, Any] = answer(site, "GET", f"{version}/issue/{key}")[1]["fields"]
    return fields


def test_a_value_of_each_kind_is_named_here() -> None:
    """The values above are of all the fields that the project has."""
    assert set(GOOD) == set(FIELDS)


@pytest.mark.parametrize(("version", "values"), [("3", GOOD), ("2", ON_A_DATA_CENTER)])
@pytest.mark.parametrize("kind", ["Task", "Bug", "Change"])
def test_every_kind_goes_round(version: str, values: dict[str, Any], kind: str, site: JiraSite) -> None:
    """A value of each kind is taken and shown again, with what Jira knows of it."""
    status, made = create(site, kind, values, version)
    assert (status, made["key"]) == (201, "FORMS-1")
    fields = shown(site, "FORMS-1", version)
    for field_id in ("customfield_10030", "customfield_10031", "customfield_10032", "customfield_10033"):
        assert fields[field_id] == values[field_id]
    assert fields["customfield_10035"]["value"] == "Red"
    assert [item["value"] for item in fields["customfield_10037"]] == ["North", "West"]
    assert fields["customfield_10039"]["value"] == "Europe"
    assert fields["customfield_10039"]["child"]["value"] == "Lisbon"
    assert fields["customfield_10040"]["displayName"] == "Ada Example"
    assert fields["customfield_10041"] == {"name": "people"}
    assert fields["customfield_10042"]["id"] == "10301"
    assert fields["customfield_10043"] == ["red", "hot"]
    assert [item["name"] for item in fields["components"]] == ["Backend", "Frontend"]
    assert fields["duedate"] == "2026-12-24"


@pytest.mark.parametrize(("field_id", "value", "message"), BAD)
def test_what_is_refused(field_id: str, value: Any, message: str, site: JiraSite) -> None:
    """A bad value is refused by name of its field, and no ticket is made."""
    status, said = create(site, "Task", {field_id: value})
    assert (status, said) == (400, {"errorMessages": [], "errors": {field_id: message}})
    assert site.issues == ()


def test_a_data_center_has_its_own_dialect(site: JiraSite) -> None:
    """Data Center names people by user name, takes texts for documents, and wants milliseconds."""
    bad = {
        "customfield_10031": adf("Press."),
        "customfield_10034": "2026-11-30T17:30:00Z",
        "customfield_10040": {"accountId": ADA},
    }
    assert create(site, "Task", {"customfield_10034": bad["customfield_10034"]})[0] == 201
    status, said = create(site, "Task", bad, "2")
    assert (status, set(said["errors"])) == (400, set(bad))


def test_all_faults_are_named_at_once(site: JiraSite) -> None:
    """Missing and bad fields, and fields that are not on the screen, are refused together."""
    status, said = create(site, "Bug", {"customfield_10032": "many", "customfield_10070": {"id": "20000"}})
    assert status == 400
    expected = {
        field_id: f"{field.name} is required."
        for field_id, field in FIELDS.items()
        if field_id != "customfield_10032"
    }
    expected["customfield_10032"] = "Operation value must be a number"
    off_screen = "Field 'customfield_10070' cannot be set. It is not on the appropriate screen, or unknown."
    assert said["errors"] == {**expected, "customfield_10070": off_screen}


def test_defaults_fill_what_is_left_out(site: JiraSite) -> None:
    """A required field with a default may be left out; the ticket has the default where one is told."""
    assert create(site, "Change", {"customfield_10030": "Example Ltd", "customfield_10043": []})[0] == 201
    fields = shown(site, "FORMS-1")
    assert fields["customfield_10030"] == "Example Ltd"
    assert fields["customfield_10033"] == DEFAULTS["customfield_10033"]
    assert fields["customfield_10035"]["value"] == "Green"
    assert fields["customfield_10043"] == ["untriaged"]
    assert fields["priority"]["name"] == "Medium"
    assert "customfield_10040" not in fields


def test_types_have_screens_of_their_own(site: JiraSite) -> None:
    """A field is taken where it is on the screen, and a type belongs to its project."""
    assert create(site, "Catalogue", {"customfield_10070": {"id": MANY[-1].id}})[0] == 201
    assert create(site, "Catalogue", {})[1]["errors"] == {"customfield_10070": "Server is required."}
    assert create(site, "Incident", {})[1]["errors"] == {"issuetype": "Specify a valid issue type"}
    assert create(site, "Question", {}, project="DESK")[0] == 201
    assert create(site, "Visit", {})[1]["errors"] == {"customfield_10062": "Team is required."}
    refused = create(site, "Task", {"labels": ["x"]}, project="BARE")[1]["errors"]
    assert set(refused) == {"labels"}


def test_a_sub_task_needs_a_parent(site: JiraSite) -> None:
    """A sub-task is refused without a ticket of its project above it, and taken below one."""
    status, said = create(site, "Sub-task", {})
    missing = "Issue type is a sub-task but parent issue key or id not specified."
    assert (status, said["errors"]) == (400, {"parent": missing})
    assert create(site, "Question", {}, project="DESK")[1]["key"] == "DESK-1"
    for key in ("FORMS-9", "DESK-1"):
        refused = create(site, "Sub-task", {"parent": {"key": key}})[1]["errors"]
        assert refused == {"parent": "Could not find issue by id or key."}
    create(site, "Task", {})
    assert create(site, "Sub-task", {"parent": {"key": "FORMS-1"}})[0] == 201
    assert shown(site, "FORMS-2")["parent"]["key"] == "FORMS-1"
    assert shown(site, "FORMS-2")["issuetype"]["subtask"] is True


@pytest.mark.parametrize(("project", "kind"), [("FORMS", "Task"), ("DESK", "Question")])
@pytest.mark.parametrize(("version", "named"), [("3", {"id": ADA}), ("2", {"name": "ada"})])
def test_the_reporter(version: str, named: dict[str, str], project: str, kind: str, site: JiraSite) -> None:
    """The reporter is the one that is named, or else the account of the login."""
    create(site, kind, {}, version, project)
    create(site, kind, {"reporter": named}, version, project)
    reporters = [shown(site, f"{project}-{number}", version)["reporter"] for number in (1, 2)]
    assert [reporter["displayName"] for reporter in reporters] == ["threadsync", "Ada Example"]
    assert shown(site, f"{project}-2", version)["creator"]["displayName"] == "threadsync"


def test_a_reporter_that_jira_refuses(site: JiraSite) -> None:
    """An unknown reporter, or any where the account may not set one, is refused by that name alone."""
    status, said = create(site, "Task", {"reporter": {"id": "nobody"}})
    assert (status, said["errors"]) == (400, {"reporter": "The reporter specified is not a user."})
    site.configure("FORMS", reporter_settable=False)
    status, said = create(site, "Task", {"reporter": {"id": ADA}})
    off_screen = "Field 'reporter' cannot be set. It is not on the appropriate screen, or unknown."
    assert (status, said) == (400, {"errorMessages": [], "errors": {"reporter": off_screen}})
    assert create(site, "Task", {})[0] == 201


def test_the_assignee(site: JiraSite) -> None:
    """A ticket has the assignee that is named, and none otherwise."""
    create(site, "Task", {"assignee": {"accountId": ADA}})
    create(site, "Task", {"assignee": None})
    assignees = [shown(site, f"FORMS-{number}")["assignee"] for number in (1, 2)]
    assert assignees[0]["accountId"] == ADA
    assert assignees[1] is None


@given(
    chosen=st.sets(st.sampled_from(sorted(FIELDS))),
    spoilt=st.one_of(st.none(), st.sampled_from([row for row in BAD if row[0] in FIELDS])),
    kind=st.sampled_from(["Task", "Bug", "Change"]),
)
def test_a_create_is_taken_whole_or_refused_by_field(
    chosen: set[str], spoilt: tuple[str, Any, str] | None, kind: str
) -> None:
    """Whatever fields are given, one ticket is made, or none and each fault is named by its field."""
    site = showcase(JiraSite())
    given_fields = {field_id: GOOD[field_id] for field_id in chosen}
    wrong: dict[str, str] = {}
    if kind == "Bug":
        wrong = {field_id: f"{FIELDS[field_id].name} is required." for field_id in set(FIELDS) - chosen}
    if spoilt:
        given_fields[spoilt[0]], wrong[spoilt[0]] = spoilt[1], spoilt[2]
    status, said = create(site, kind, given_fields)
    assert status == (400 if wrong else 201)
    assert said.get("errors", {}) == wrong
    assert len(site.issues) == (0 if wrong else 1)
