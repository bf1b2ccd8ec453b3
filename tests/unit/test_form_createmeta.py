"""Create screens of Jira Cloud and of a Data Center, read as the fields of a form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.create_screens import DEPLOYMENTS, EXPECTED, UNASKABLE, golden
from threadsync.forms import CHOSEN, FormFields
from worker.jira import createmeta
from worker.jira.answers import Deployment

SANDBOXS: Final = Path(__file__).parents[1] / "data" / "createmeta"
CUSTOM: Final = "com.atlassian.jira.plugin.system.customfieldtypes:"


def entries_of(deployment: Deployment) -> list[dict[str, Any]]:
    """Return the fields of the golden screen."""
    page: dict[str, Any] = golden(f"createmeta-{deployment}")
    entries: list[dict[str, Any]] = page["fields" if deployment == "cloud" else "values"]
    return entries


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_every_kind_of_a_screen(deployment: Deployment) -> None:
    """What is offered and what is required is asked for, each by its kind; the reporter is Jira's to set."""
    fields, unaskable = createmeta.form_fields(entries_of(deployment), deployment)
    shape = 2 if deployment == "cloud" else 3
    assert [(item.label, item.kind, item.shape, item.multiple, len(item.choices)) for item in fields] == [
        (row[0], row[1], row[shape], row[4], row[5]) for row in EXPECTED
    ]
    assert unaskable == UNASKABLE
    offered = {"Summary": True, "Description": False, "Assignee": False, "Priority": False, "Labels": False}
    assert {item.label: item.required for item in fields} == {
        **{row[0]: True for row in EXPECTED},
        **offered,
    }


def test_choices_are_those_that_may_be_chosen() -> None:
    """Archived versions and disabled options are left out; a cascading option has its pairs."""
    fields, _ = createmeta.form_fields(entries_of("datacenter"), "datacenter")
    choices = {item.label: [(choice.id, choice.label) for choice in item.choices] for item in fields}
    assert choices["Fix versions"] == [("10100", "1.0"), ("10101", "1.1")]
    assert choices["Severity"] == [("10300", "S1"), ("10301", "S2")]
    assert choices["Priority"][0] == ("Highest", "Highest")
    assert choices["Region"] == [
        ("10340", "EMEA"),
        ("10340/10341", "EMEA > Berlin"),
        ("10340/10342", "EMEA > Lisbon"),
        ("10343", "APAC"),
    ]


def test_a_priority_goes_by_its_name_unless_that_is_like_an_id() -> None:
    """A draft's priority is a name, and digits alone are an id: so a name of digits is replaced by its id."""
    allowed = [{"id": "3", "name": "1"}, {"id": "4", "name": "2 - High"}]
    entry = {"name": "Priority", "required": True, "schema": {"type": "priority"}, "allowedValues": allowed}

    def offered(field_id: str) -> list[tuple[str, str]]:
        fields, _ = createmeta.form_fields([{**entry, "fieldId": field_id}], "cloud")
        return [(choice.id, choice.label) for choice in fields[0].choices]

    assert offered("priority") == [("3", "1"), ("2 - High", "2 - High")]
    assert offered("customfield_1") == [("1", "1"), ("2 - High", "2 - High")]


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_issue_types_of_sub_tasks_are_not_offered(deployment: Deployment) -> None:
    """Every issue type is offered but those of sub-tasks, by id and name."""
    page = golden(f"issuetypes-{deployment}")
    entries = page["issueTypes" if deployment == "cloud" else "values"]
    assert [(item.id, item.label) for item in createmeta.issue_types(entries)] == [
        ("10001", "Task"),
        ("10002", "Bug"),
        ("10000", "Epic"),
    ]


def test_projects_have_their_names() -> None:
    """Projects are offered by key, with their names; archived ones are not."""
    found = createmeta.projects(
        [
            {"id": "2", "key": "ZED", "name": "Last"},
            {"id": "1", "key": "ABC", "name": " First\n project "},
            {"id": "3", "key": "OLD", "name": "Old", "archived": True},
            {"id": "4", "key": "NAMELESS"},
        ]
    )
    assert [(item.id, item.label) for item in found] == [
        ("ABC", "First project (ABC)"),
        ("NAMELESS", "NAMELESS"),
        ("ZED", "Last (ZED)"),
    ]


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ({"fieldId": "parent", "schema": {"type": "issuelink", "system": "parent"}}, None),
        ({"fieldId": "attachment", "schema": {"type": "array", "items": "attachment"}}, None),
        ({"fieldId": "timetracking", "schema": {"type": "timetracking"}}, None),
        (
            {"fieldId": "customfield_1", "schema": {"type": "string", "custom": "com.other:epic-name"}},
            "string",
        ),
        ({"fieldId": "customfield_1", "schema": {"type": "array", "items": "string"}}, None),
        ({"fieldId": "customfield_1", "schema": {"type": "string"}, "operations": ["add"]}, None),
        ({"fieldId": "customfield_1", "schema": {"type": "string"}, "operations": []}, "string"),
        ({"fieldId": "customfield#1", "schema": {"type": "string"}}, None),
        ({"fieldId": "customfield_1"}, None),
        ({"key": "customfield_1", "schema": {"type": "number"}}, "number"),
    ],
)
def test_a_required_field_is_asked_for_or_named(field: dict[str, Any], kind: str | None) -> None:
    """A required field is asked for, or named where no form can ask for it."""
    entry = {"name": "Some field", "required": True, **field}
    fields, unaskable = createmeta.form_fields([entry], "cloud")
    assert [item.kind for item in fields] == ([kind] if kind else [])
    assert unaskable == (() if kind else ("Some field",))
    assert createmeta.form_fields([{**entry, "hasDefaultValue": True}], "cloud") == ((), ())
    assert createmeta.form_fields([{**entry, "required": False}], "cloud") == ((), ())


WORDS: Final = {
    "text_area": "text area",
    "date_time": "date-time",
    "cascading": "cascading option",
    "url": "URL",
}


def test_the_screens_of_the_sandbox() -> None:
    """The sandbox's screens are read as its own page of expectations says."""
    expected = json.loads((SANDBOXS / "expected.json").read_text())
    for name, kinds in expected["asked"].items():
        page = json.loads((SANDBOXS / name).read_text())
        deployment: Deployment = "cloud" if name.startswith("cloud") else "datacenter"
        fields, unaskable = createmeta.form_fields(page.get("fields") or page["values"], deployment)
        words = {item.id: WORDS.get(item.kind, item.kind) for item in fields}
        plural = {item.id: item.multiple and item.kind not in ("labels", "user", "group") for item in fields}
        assert {field: f"{word}s" if plural[field] else word for field, word in words.items()} == kinds
        assert list(unaskable) == expected["cannot_be_asked"][name]
        counts = {item.id: len(item.choices) for item in fields}
        assert expected["choices"].get(name, {}).items() <= counts.items()
    for name, types in expected["issue_types"].items():
        page = json.loads((SANDBOXS / name).read_text())
        entries = page.get("issueTypes") or page["values"]
        assert [item.label for item in createmeta.issue_types(entries)] == types


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
TYPES = st.sampled_from(
    ["string", "number", "array", "option", "option-with-child", "user", "group", "version", "priority", "x"]
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "fieldId": st.sampled_from(["summary", "priority", "labels", "customfield_1", "reporter"]) | JUNK,
        "name": JUNK,
        "required": st.booleans() | JUNK,
        "hasDefaultValue": st.booleans() | JUNK,
        "operations": JUNK,
        "schema": st.fixed_dictionaries(
            {},
            optional={
                "type": TYPES | JUNK,
                "items": TYPES | JUNK,
                "custom": st.sampled_from([f"{CUSTOM}textarea", f"{CUSTOM}labels"]) | JUNK,
            },
        )
        | JUNK,
        "allowedValues": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "id": st.text(max_size=3) | JUNK,
                    "value": JUNK,
                    "name": JUNK,
                    "children": st.lists(JUNK, max_size=2) | JUNK,
                    "disabled": JUNK,
                },
            )
            | JUNK,
            max_size=3,
        )
        | JUNK,
    },
)


@given(st.lists(ENTRY, max_size=4), st.sampled_from(DEPLOYMENTS))
def test_any_screen_is_read(entries: list[dict[str, Any]], deployment: Deployment) -> None:
    """Whatever a screen holds, it is read as fields that travel, or fields are named."""
    fields, unaskable = createmeta.form_fields(entries, deployment)
    answer = FormFields(outcome="known", fields=fields, unaskable=unaskable)
    assert FormFields.model_validate_json(answer.model_dump_json()) == answer
    assert all(item.choices for item in fields if item.kind in CHOSEN)
    for item in fields:
        ids = [choice.id for choice in item.choices]
        assert len(ids) == len(set(ids))
