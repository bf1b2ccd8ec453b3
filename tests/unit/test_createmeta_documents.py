"""The golden documents of createmeta, held to Atlassian's description of the API and to the sandbox Jira."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from sandbox.jira.showcase import showcase
from sandbox.jira.site import JiraSite
from tests.support.jira_requests import answer

FOLDER: Final = Path(__file__).parents[1] / "data" / "createmeta"
SCREENS: Final = tuple(sorted(path.name for path in FOLDER.glob("*-fields-*.json")))
LISTS: Final = {"cloud": ("issueTypes", "fields", "3"), "datacenter": ("values", "values", "2")}

Entry = dict[str, Any]
Kind = tuple[str, str | None, str | None]


def document(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def entries(name: str) -> list[Entry]:
    fields: list[Entry] = document(name)[LISTS[name.partition("-")[0]][1]]
    return fields


def kind_of(entry: Entry) -> Kind:
    """Return what tells the kind of a field: type, elements, and custom type."""
    schema = entry["schema"]
    return schema["type"], schema.get("items"), schema.get("custom")


def sandbox_fields(dialect: str) -> dict[Kind, Entry]:
    """Return a field of each kind as the sandbox describes it; ones without a default before others."""
    _, name, version = LISTS[dialect]
    site = showcase(JiraSite())
    found: dict[Kind, Entry] = {}
    for kind in ("10013", "10011", "10002"):
        path = f"{version}/issue/createmeta/FORMS/issuetypes/{kind}"
        for entry in answer(site, "GET", path, maxResults="200")[1][name]:
            found[kind_of(entry)] = entry
    return found


def test_expectations_are_of_all_documents() -> None:
    """Something is expected of each document, and of fields that it has."""
    expected = document("expected.json")
    assert tuple(sorted(expected["asked"])) == tuple(sorted(expected["cannot_be_asked"])) == SCREENS
    assert sorted(expected["issue_types"]) == sorted(path.name for path in FOLDER.glob("*-issuetypes.json"))
    for name in SCREENS:
        by_id = {entry["fieldId"]: entry for entry in entries(name)}
        assert set(expected["asked"][name]) <= set(by_id)
        assert set(expected["cannot_be_asked"][name]) <= {entry["name"] for entry in by_id.values()}


@pytest.mark.parametrize("name", [*SCREENS, "cloud-issuetypes.json", "datacenter-issuetypes.json"])
def test_a_page_says_how_much_it_has(name: str) -> None:
    """Each document is one whole page; a Data Center's says that it is the last."""
    page = document(name)
    types, fields, _ = LISTS[name.partition("-")[0]]
    assert page["total"] == len(page[types if "issuetypes" in name else fields])
    assert page.get("isLast") is (True if name.startswith("datacenter") else None)


@pytest.mark.parametrize("name", SCREENS)
def test_each_needed_field_is_asked_or_cannot_be(name: str) -> None:
    """A required field without a default is asked, or named as one that cannot be, or set by Jira."""
    expected = document("expected.json")
    needed = {
        entry["fieldId"]: entry["name"]
        for entry in entries(name)
        if entry["required"]
        and not entry["hasDefaultValue"]
        and entry["fieldId"] not in ("project", "issuetype", "reporter")
    }
    asked = expected["asked"][name]
    left = {label for field_id, label in needed.items() if field_id not in asked}
    assert left == set(expected["cannot_be_asked"][name])
    always = {"summary", "description", "assignee", "priority", "labels"}
    assert set(asked) == always | {field_id for field_id in needed if field_id in asked}


@pytest.mark.parametrize("dialect", ["cloud", "datacenter"])
def test_documents_have_all_kinds(dialect: str) -> None:
    """The kinds that are expected in the required fields are all that a form may ask."""
    kinds = set(document("expected.json")["asked"][f"{dialect}-fields-required.json"].values())
    assert kinds == {
        "string",
        "text area",
        "number",
        "date",
        "date-time",
        "option",
        "options",
        "cascading option",
        "user",
        "group",
        "version",
        "versions",
        "components",
        "priority",
        "labels",
        "URL",
    }


@pytest.mark.parametrize("name", SCREENS)
def test_documents_and_sandbox_agree(name: str) -> None:
    """A field of a kind has the same members in the documents and in the sandbox, and so have its choices."""
    ours = sandbox_fields(name.partition("-")[0])
    optional = {"defaultValue", "autoCompleteUrl"}
    for entry in entries(name):
        mine = ours.get(kind_of(entry))
        if mine is None or entry["schema"]["type"] in ("project", "issuetype"):
            continue
        assert set(entry) - optional == set(mine) - optional, entry["name"]
        if not entry.get("allowedValues"):
            continue
        theirs, own = entry["allowedValues"][0], mine["allowedValues"][0]
        assert set(own) <= set(theirs), entry["name"]
        assert set(theirs) - set(own) <= {"description", "projectId"}, entry["name"]


def test_the_sandbox_knows_each_kind_of_the_documents() -> None:
    """The sandbox has a field of each kind that the documents have, in both dialects."""
    for dialect in LISTS:
        ours = sandbox_fields(dialect)
        kinds = {kind_of(entry) for name in SCREENS if name.startswith(dialect) for entry in entries(name)}
        assert {kind for kind in kinds if kind not in ours} <= {
            # Sprints of an older Data Center.
            ("array", "string", "com.pyxis.greenhopper.jira:gh-sprint"),
        }
