"""Read a new ticket from the body of a create, and refuse its fields in Jira's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sandbox.jira import metadata
from sandbox.jira.accounts import Account
from sandbox.jira.field_values import BadValue, Place, read_value
from sandbox.jira.fields import Choice, ScreenField
from sandbox.jira.issues import Draft
from sandbox.jira.projects import IssueType
from sandbox.jira.site import JiraSite
from sandbox.jira.texts import summary_fault
from sandbox.jira.validation import INVALID_PAYLOAD, Refusal, properties_of

_MISSING: Final = {
    "project": "valid project is required",
    "issuetype": "Specify a valid issue type",
    "summary": "You must specify a summary of the issue.",
    "parent": "Issue type is a sub-task but parent issue key or id not specified.",
}
_OFF_SCREEN: Final = "Field '{}' cannot be set. It is not on the appropriate screen, or unknown."
_OWN_MEMBERS: Final = frozenset(
    ("project", "issuetype", "summary", "description", "labels", "reporter", "security")
)
"""Fields that are members of a `Draft`."""


def draft_of(site: JiraSite, body: Mapping[str, Any], account: Account, *, adf: bool) -> Draft:
    """Read the ticket from the body of a create; ``adf`` is for version 3, whose texts are documents.

    Raises ``Refusal`` with the faults of all fields at once.
    """
    fields = body.get("fields")
    if not isinstance(fields, dict):
        raise Refusal(INVALID_PAYLOAD)
    reader = _Reader(site, fields, account, is_cloud=adf)
    read = reader.read()
    if reader.errors or reader.project is None or reader.kind is None:
        raise Refusal(errors=reader.errors)
    level, reporter = read.get("security"), read.get("reporter", account)
    return Draft(
        project=reader.project,
        issue_type=reader.kind.name,
        summary=fields["summary"].strip(),
        description=fields.get("description"),
        labels=tuple(read.get("labels", ())),
        properties=properties_of(body.get("properties", [])),
        reporter=reporter.id,
        creator=account.id,
        level=level.id if isinstance(level, Choice) else site.project(reader.project).default_level,
        fields={name: value for name, value in read.items() if name not in _OWN_MEMBERS},
    )


class _Reader:
    """Reader of a create's fields; ``errors`` are those of `read`, by field.

    A create whose project or type is wrong is compared with the site's own screen.
    """

    def __init__(
        self, site: JiraSite, fields: Mapping[str, Any], account: Account, *, is_cloud: bool
    ) -> None:
        self._site = site
        self._fields = fields
        self._account = account
        self._place = Place(site.accounts, is_cloud)
        self.errors: dict[str, str] = {}
        self.project = self._chosen_project()
        self.kind = self._chosen_type()
        self._screen = self.kind.screen if self.kind else site.screen

    def read(self) -> dict[str, Any]:
        """Return the values that were given, and the defaults of the others, as they are stored."""
        read: dict[str, Any] = {}
        for name, value in self._fields.items():
            field = self._screen.get(name)
            if field is None or not self._may_set(name):
                self.errors[name] = _OFF_SCREEN.format(name)
            elif value is not None:
                try:
                    read[name] = self._value(name, field, value)
                except BadValue as exc:
                    self.errors[name] = str(exc)
        for name, field in self._screen.items():
            if self._fields.get(name) in (None, "", [], {}):
                self._without(name, field, read)
        return read

    def _without(self, name: str, field: ScreenField, read: dict[str, Any]) -> None:
        """Give a field that has no value its default; a required one without any is an error.

        The reporter is set by Jira, whatever createmeta says.
        """
        read.pop(name, None)
        if field.default is not None:
            read[name] = field.default
        elif field.required and not field.has_default and name != "reporter":
            self.errors[name] = _MISSING.get(name, f"{field.name} is required.")

    def _may_set(self, name: str) -> bool:
        if name != "reporter" or self.project is None:
            return True
        return self._site.project(self.project).reporter_settable

    def _value(self, name: str, field: ScreenField, value: Any) -> Any:
        match name:
            case "project":
                chosen: Any = self.project
            case "issuetype":
                chosen = self.kind
            case "summary":
                if fault := summary_fault(value, _MISSING[name]):
                    raise BadValue(fault)
                return value
            case "parent":
                return self._parent(value)
            case _:
                return read_value(name, field, value, self._place)
        if chosen is None:
            raise BadValue(_MISSING[name])
        if name == "project" and not self._site.project(chosen).creatable:
            raise BadValue("You do not have permission to create issues in this project.")
        return value

    def _parent(self, value: Any) -> dict[str, str]:
        named = (value.get("key") or value.get("id")) if isinstance(value, dict) else None
        issue = self._site.find(str(named))
        if issue is None or issue.project != self.project or not self._site.sees(self._account, issue):
            raise BadValue("Could not find issue by id or key.")
        return {"id": issue.id, "key": issue.key}

    def _chosen_project(self) -> str | None:
        key = _chosen(self._fields.get("project"), "key", self._site.projects)
        return key if key and metadata.is_visible(self._site, key, self._account) else None

    def _chosen_type(self) -> IssueType | None:
        types = self._site.types_of(self.project or next(iter(self._site.projects)))
        name = _chosen(self._fields.get("issuetype"), "name", {kind.name: kind.id for kind in types})
        return next((kind for kind in types if kind.name == name), None)


def _chosen(value: Any, named_by: str, known: Mapping[str, str]) -> str | None:
    """Return the name of a choice that is made by ``{"id": …}`` or by name; None if it is unknown."""
    if not isinstance(value, dict):
        return None
    by_id = {identity: name for name, identity in known.items()}
    name = value.get(named_by)
    if "id" in value:
        return by_id.get(str(value["id"]))
    return name if isinstance(name, str) and name in known else None
