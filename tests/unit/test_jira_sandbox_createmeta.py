"""Projects, issue types and create screens of the sandbox Jira, in both dialects."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.jira.accounts import Audience
from sandbox.jira.fields import Choice, screen
from sandbox.jira.kinds import option, version
from sandbox.jira.projects import IssueType, Project
from sandbox.jira.showcase import FIELDS, FURTHER, MANY, showcase
from sandbox.jira.site import JiraSite
from tests.support.jira_requests import answer, create_body

FORMS = "issue/createmeta/FORMS/issuetypes"
TASK, BUG, CHANGE, VISIT, CATALOGUE, SUB_TASK = "10001", "10002", "10011", "10012", "10014", "10003"
LISTS = {"3": ("issueTypes", "fields"), "2": ("values", "values")}


@pytest.fixture
def site() -> JiraSite:
    return showcase(JiraSite())


def fields_of(site: JiraSite, version: str, kind: str, project: str = "FORMS") -> dict[str, Any]:
    """Return the fields of a create screen by id, read page after page."""
    path = f"{version}/issue/createmeta/{project}/issuetypes/{kind}"
    found: list[Any] = []
    while True:
        page = answer(site, "GET", path, startAt=str(len(found)), maxResults="7")[1]
        found += page[LISTS[version][1]]
        if len(found) >= page["total"]:
            return {item["fieldId"]: item for item in found}


@pytest.mark.parametrize("version", ["3", "2"])
def test_issue_types_come_in_pages(version: str, site: JiraSite) -> None:
    """A page says where it begins and how many there are; Data Center says which one is the last."""
    name = LISTS[version][0]
    first = answer(site, "GET", f"{version}/{FORMS}", maxResults="4")[1]
    rest = answer(site, "GET", f"{version}/{FORMS}", startAt="4")[1]
    assert [len(page[name]) for page in (first, rest)] == [4, 3]
    assert [(page["startAt"], page["maxResults"], page["total"]) for page in (first, rest)] == [
        (0, 4, 7),
        (4, 50, 7),
    ]
    assert [page.get("isLast") for page in (first, rest)] == (
        [None, None] if version == "3" else [False, True]
    )
    assert answer(site, "GET", f"{version}/{FORMS}", startAt="-1")[0] == 400
    assert answer(site, "GET", f"{version}/{FORMS}", maxResults="x")[0] == 400


@pytest.mark.parametrize("version", ["3", "2"])
def test_sub_tasks_are_marked(version: str, site: JiraSite) -> None:
    """A sub-task type says that it is one; on Cloud by its level too."""
    types = answer(site, "GET", f"{version}/{FORMS}")[1][LISTS[version][0]]
    assert [kind["name"] for kind in types if kind["subtask"]] == ["Sub-task"]
    levels = {kind["name"]: kind.get("hierarchyLevel") for kind in types}
    assert (levels["Task"], levels["Sub-task"]) == ((0, -1) if version == "3" else (None, None))


@pytest.mark.parametrize("version", ["3", "2"])
def test_every_kind_is_described(version: str, site: JiraSite) -> None:
    """Each field has its schema, and choices, search address or neither, as its kind is."""
    found = fields_of(site, version, BUG)
    assert set(FIELDS) < set(found)
    for field_id, field in FIELDS.items():
        item = found[field_id]
        assert (item["name"], item["required"], item["hasDefaultValue"]) == (field.name, True, False)
        assert item["schema"]["type"] == field.type
        assert item["schema"].get("items") == field.items
        assert ("allowedValues" in item) is (field.choices is not None)
        assert ("set" in item["operations"]) is True
        assert ("key" in item) is (version == "3")
    custom = found["customfield_10039"]["schema"]
    assert custom == {
        "type": "option-with-child",
        "custom": "com.atlassian.jira.plugin.system.customfieldtypes:cascadingselect",
        "customId": 10039,
    }
    assert found["components"]["schema"] == {"type": "array", "items": "component", "system": "components"}
    searched = {field_id for field_id, item in found.items() if "autoCompleteUrl" in item}
    assert searched == {
        "reporter",
        "assignee",
        "labels",
        "customfield_10040",
        "customfield_10041",
        "customfield_10043",
    }


def test_choices_in_both_dialects(site: JiraSite) -> None:
    """Options have values and ids, cascading ones children; Data Center says which are disabled."""
    cloud, data_center = (fields_of(site, version, TASK) for version in "32")
    red = cloud["customfield_10035"]["allowedValues"][0]
    assert red == {
        "self": "http://127.0.0.1/rest/api/3/customFieldOption/10100",
        "value": "Red",
        "id": "10100",
    }
    assert data_center["customfield_10035"]["allowedValues"][0]["disabled"] is False
    europe = cloud["customfield_10039"]["allowedValues"][0]
    assert [child["value"] for child in europe["children"]] == ["Berlin", "Lisbon"]
    named = [item["name"] for item in cloud["components"]["allowedValues"]]
    assert named == ["Backend", "Frontend"]
    assert cloud["priority"]["allowedValues"][0]["name"] == "Highest"
    assert cloud["project"]["allowedValues"][0]["key"] == "FORMS"
    assert cloud["issuetype"]["allowedValues"][0]["id"] == TASK


def test_choices_that_are_gone(site: JiraSite) -> None:
    """A choice that cannot be chosen any more is left out by Cloud and marked by Data Center."""
    old = (Choice("1", "Old", disabled=True), Choice("2", "New"))
    fields = {"customfield_10001": option("Kind", old), "customfield_10002": version("Found in", old)}
    site.add_project("OLD", Project(types=(IssueType("10001", "Task", screen(fields)),)))
    cloud, data_center = (fields_of(site, version, TASK, "OLD") for version in "32")
    assert [item["id"] for item in cloud["customfield_10001"]["allowedValues"]] == ["2"]
    marks = [item["disabled"] for item in data_center["customfield_10001"]["allowedValues"]]
    assert marks == [True, False]
    marks = [item["archived"] for item in data_center["customfield_10002"]["allowedValues"]]
    assert marks == [True, False]


def test_defaults_are_told(site: JiraSite) -> None:
    """A field with a default says so, and tells it as it would show it, unless it keeps it to itself."""
    found = fields_of(site, "3", CHANGE)
    assert all(found[field_id]["hasDefaultValue"] for field_id in FIELDS)
    assert found["customfield_10032"]["defaultValue"] == 1.0
    assert found["customfield_10035"]["defaultValue"]["value"] == "Green"
    assert found["customfield_10039"]["defaultValue"]["child"]["value"] == "Lisbon"
    assert [item["name"] for item in found["components"]["defaultValue"]] == ["Backend"]
    assert "defaultValue" not in found["customfield_10040"]


@pytest.mark.parametrize(
    ("project", "kind", "has_default"), [("FORMS", TASK, True), ("DESK", "10021", False)]
)
@pytest.mark.parametrize("version", ["3", "2"])
def test_the_reporter_is_required_with_and_without_a_default(
    version: str, project: str, kind: str, has_default: bool, site: JiraSite
) -> None:
    """Createmeta calls the reporter required, with a default in one project and without in another."""
    reporter = fields_of(site, version, kind, project)["reporter"]
    assert (reporter["required"], reporter["hasDefaultValue"]) == (True, has_default)


def test_long_and_empty_lists(site: JiraSite) -> None:
    """A list may have more choices than a select of Slack takes, and none at all."""
    found = fields_of(site, "3", CATALOGUE)
    assert len(found["customfield_10070"]["allowedValues"]) == len(MANY) == 250
    assert found["customfield_10072"]["allowedValues"] == []


def test_further_kinds(site: JiraSite) -> None:
    """There is a type with a required field that no form can ask, and one with all further kinds."""
    assert fields_of(site, "3", VISIT)["customfield_10062"]["required"] is True
    types = {item["schema"]["type"] for item in fields_of(site, "3", "10013").values()}
    assert {"team", "any", "project", "timetracking", "securitylevel"} < types
    assert set(FURTHER) < set(fields_of(site, "2", "10013"))


@pytest.mark.parametrize("version", ["3", "2"])
def test_what_is_not_there(version: str, site: JiraSite) -> None:
    """An unknown project or type is refused; a project that the account does not see is unknown."""
    unknown = 404 if version == "3" else 400
    assert answer(site, "GET", f"{version}/issue/createmeta/NONE/issuetypes")[0] == unknown
    assert answer(site, "GET", f"{version}/{FORMS}/7")[0] == 400
    # A type of another project.
    assert answer(site, "GET", f"{version}/{FORMS}/10021")[0] == 400
    site.configure("FORMS", browse=Audience(everyone=False))
    assert answer(site, "GET", f"{version}/{FORMS}")[0] == unknown
    site.configure("FORMS", browse=Audience(everyone=False, accounts=frozenset((site.bot.id,))))
    assert answer(site, "GET", f"{version}/{FORMS}")[0] == 200


def test_projects_are_searched(site: JiraSite) -> None:
    """Cloud's search finds a project by a part of its key or name, in pages, in any case."""

    def keys(**query: str) -> list[str]:
        return [item["key"] for item in answer(site, "GET", "3/project/search", **query)[1]["values"]]

    assert keys() == ["BARE", "DESK", "FORMS", "PROJ"]
    assert keys(query="service") == ["DESK"]
    assert keys(query="or") == ["FORMS"]
    assert keys(keys="PROJ,BARE") == ["BARE", "PROJ"]
    page = answer(site, "GET", "3/project/search", maxResults="3")[1]
    assert (page["isLast"], page["total"]) == (False, 4)
    assert page["nextPage"].endswith("startAt=3&maxResults=3")
    assert keys(startAt="3") == ["PROJ"]
    assert answer(site, "GET", "3/project/search", startAt="3")[1]["isLast"] is True
    site.configure("DESK", browse=Audience(everyone=False))
    assert keys() == ["BARE", "FORMS", "PROJ"]


def test_a_data_center_lists_all_projects(site: JiraSite) -> None:
    """Data Center has no search of projects by that name, and lists all that the account sees."""
    assert [item["key"] for item in answer(site, "GET", "2/project")[1]] == ["BARE", "DESK", "FORMS", "PROJ"]
    status, said = answer(site, "GET", "2/project/search")
    assert (status, said["errorMessages"]) == (404, ["No project could be found with key 'search'."])


@pytest.mark.parametrize("version", ["3", "2"])
def test_one_project(version: str, site: JiraSite) -> None:
    """A project is read by key or id, with its issue types."""
    found = answer(site, "GET", f"{version}/project/DESK")[1]
    assert [kind["name"] for kind in found["issueTypes"]] == ["Incident", "Question"]
    assert answer(site, "GET", f"{version}/project/{found['id']}")[1] == found
    assert answer(site, "GET", f"{version}/project/NONE")[0] == 404


@pytest.mark.parametrize("version", ["3", "2"])
def test_priorities(version: str, site: JiraSite) -> None:
    """The priorities are listed in their order."""
    found = answer(site, "GET", f"{version}/priority")[1]
    assert [item["name"] for item in found] == ["Highest", "High", "Medium", "Low", "Lowest"]


def test_permissions(site: JiraSite) -> None:
    """The account has each permission, except the one to set a reporter where that is not granted."""

    def has(*names: str) -> list[bool]:
        query = {"projectKey": "PROJ", "permissions": ",".join(names)}
        found = answer(site, "GET", "3/mypermissions", **query)[1]["permissions"]
        return [found[name]["havePermission"] for name in names]

    assert has("MODIFY_REPORTER", "CREATE_ISSUES") == [True, True]
    site.configure("PROJ", reporter_settable=False)
    assert has("MODIFY_REPORTER", "CREATE_ISSUES") == [False, True]
    assert answer(site, "GET", "3/mypermissions", permissions="FLY")[0] == 400


def test_a_project_in_which_nothing_may_be_created(site: JiraSite) -> None:
    """A project is seen where nothing may be created, but not offered for a create, which it refuses."""
    site.configure("PROJ", creatable=False)
    assert answer(site, "GET", "3/project/PROJ")[0] == 200
    found = answer(site, "GET", "3/project/search", action="create")[1]["values"]
    assert [project["key"] for project in found] == ["BARE", "DESK", "FORMS"]
    assert answer(site, "GET", "3/issue/createmeta/PROJ/issuetypes")[0] == 404
    query = {"projectKey": "PROJ", "permissions": "CREATE_ISSUES"}
    shown = answer(site, "GET", "3/mypermissions", **query)[1]["permissions"]["CREATE_ISSUES"]
    assert shown["havePermission"] is False
    status, said = answer(site, "POST", "3/issue", create_body())
    refused = {"project": "You do not have permission to create issues in this project."}
    assert (status, said["errors"]) == (400, refused)
