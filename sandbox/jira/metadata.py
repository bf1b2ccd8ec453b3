"""Projects, issue types and fields as the sandbox Jira describes them, on Cloud and on a Data Center. No I/O.

| | Cloud (``/rest/api/3``) | Data Center (``/rest/api/2``) |
|---|---|---|
| list of types | ``issueTypes``, with ``hierarchyLevel`` | ``values`` |
| list of fields | ``fields``, with ``key`` | ``values``, without ``key`` |
| an option | ``self``, ``value``, ``id`` | also ``disabled`` |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sandbox.jira.accounts import Account
from sandbox.jira.answers import Answers
from sandbox.jira.fields import Choice, ScreenField
from sandbox.jira.projects import IssueType
from sandbox.jira.site import JiraSite
from sandbox.jira.values import Answer

_NO_DEFAULT_KEY: Final = "com.atlassian.jira.plugin.system.customfieldtypes:textfield"
_MANY: Final = ["add", "set", "remove"]


def is_visible(site: JiraSite, key: str, account: Account) -> bool:
    """Return True if the account sees the project; as in Jira, all see one whose tickets reporters see."""
    audience = site.project(key).browse
    return audience.everyone or audience.reporter or account.id in audience.accounts


def project(answers: Answers, site: JiraSite, key: str) -> Answer:
    """Show a project."""
    identity = site.projects[key]
    shown: Answer = {
        "self": f"{answers.rest}/project/{identity}",
        "id": identity,
        "key": key,
        "name": site.project(key).name or key,
        "projectTypeKey": "software",
    }
    if answers.is_cloud:
        shown |= {"simplified": False, "style": "classic", "isPrivate": False}
    return shown


def issue_type(answers: Answers, kind: IssueType) -> Answer:
    """Show an issue type; on Cloud sub-tasks are a level below the others."""
    shown: Answer = {
        "self": f"{answers.rest}/issuetype/{kind.id}",
        "id": kind.id,
        "description": "",
        "iconUrl": f"{answers.rest}/icon/issuetype/{kind.id}",
        "name": kind.name,
        "subtask": kind.subtask,
    }
    return {**shown, "hierarchyLevel": -1 if kind.subtask else 0} if answers.is_cloud else shown


def priority(answers: Answers, choice: Choice) -> Answer:
    """Show a priority in the list of all."""
    shown = answers.shower.choice(choice, "priority")
    return {**shown, "description": ""}


def fields(answers: Answers, site: JiraSite, key: str, kind: IssueType) -> list[Answer]:
    """Show the fields of the create screen of a project's issue type."""
    own: Mapping[str, list[Answer]] = {
        "project": [project(answers, site, key)],
        "issuetype": [issue_type(answers, kind)],
    }
    return [dict(_members(answers, field_id, field, own)) for field_id, field in kind.screen.items()]


def _members(
    answers: Answers, field_id: str, field: ScreenField, own: Mapping[str, list[Answer]]
) -> Iterator[tuple[str, Any]]:
    yield "required", field.required
    yield "schema", _schema(field_id, field)
    yield "name", field.name
    if answers.is_cloud:
        yield "key", field_id
    if url := _search_url(answers, field_id, field):
        yield "autoCompleteUrl", url
    yield "hasDefaultValue", field.has_default
    if field.default is not None:
        yield "defaultValue", answers.shower.value(field.default, field.values_are)
    yield "operations", _MANY if field.type == "array" else ["set"]
    if field_id in own:
        yield "allowedValues", own[field_id]
    elif field.choices is not None:
        shown = answers.shower.choices(field.choices, field.values_are)
        yield "allowedValues", shown
    yield "fieldId", field_id


def _schema(field_id: str, field: ScreenField) -> Answer:
    schema: Answer = {"type": field.type}
    if field.type == "array":
        schema["items"] = field.items or "string"
    if not field_id.startswith("customfield_"):
        return {**schema, "system": field_id}
    custom_id = int(field_id.removeprefix("customfield_"))
    return {**schema, "custom": field.custom_key or _NO_DEFAULT_KEY, "customId": custom_id}


def _search_url(answers: Answers, field_id: str, field: ScreenField) -> str | None:
    """Return the address at which a client searches the values; None if they are listed or not searched."""
    if field.has_users:
        return f"{answers.rest}/user/search?{'query' if answers.is_cloud else 'username'}="
    if field.values_are == "group":
        return f"{answers.rest}/groups/picker?query="
    if field.type == "array" and field.values_are == "string":
        return f"{answers.base}/rest/api/1.0/labels/suggest?query="
    return None
