"""Constructors of fields, of every kind that Jira's createmeta describes. No I/O.

screen["customfield_10031"] = option("Team", choices(10_100, "Red", "Blue"), required=True)

They are named after the kinds. Those below FURTHER KINDS make kinds that our form need not ask for.
"""

from __future__ import annotations

from sandbox.jira.fields import Choice, ScreenField


def text(name: str, *, required: bool = False) -> ScreenField:
    """A text of one line, of at most 255 characters."""
    return ScreenField(name, "string", required, custom="textfield")


def text_area(name: str, *, required: bool = False) -> ScreenField:
    """A text of many lines: a document in API version 3, text in version 2."""
    return ScreenField(name, "string", required, custom="textarea")


def url(name: str, *, required: bool = False) -> ScreenField:
    """An address of a page."""
    return ScreenField(name, "string", required, custom="url")


def number(name: str, *, required: bool = False) -> ScreenField:
    """A number, with or without decimals."""
    return ScreenField(name, "number", required, custom="float")


def date(name: str, *, required: bool = False) -> ScreenField:
    """A day, as ``2026-11-30``."""
    return ScreenField(name, "date", required, custom="datepicker")


def date_time(name: str, *, required: bool = False) -> ScreenField:
    """A moment, as ``2026-11-30T17:30:00.000+0000``."""
    return ScreenField(name, "datetime", required, custom="datetime")


def option(name: str, allowed: tuple[Choice, ...], *, required: bool = False) -> ScreenField:
    """One choice of a list."""
    return ScreenField(name, "option", required, custom="select", choices=allowed)


def radio(name: str, allowed: tuple[Choice, ...], *, required: bool = False) -> ScreenField:
    """One choice of radio buttons."""
    return ScreenField(name, "option", required, custom="radiobuttons", choices=allowed)


def options(name: str, allowed: tuple[Choice, ...], *, required: bool = False) -> ScreenField:
    """Any number of choices of a list."""
    return ScreenField(name, "array", required, items="option", custom="multiselect", choices=allowed)


def checkboxes(name: str, allowed: tuple[Choice, ...], *, required: bool = False) -> ScreenField:
    """Any number of checkboxes."""
    return ScreenField(name, "array", required, items="option", custom="multicheckboxes", choices=allowed)


def cascading(name: str, allowed: tuple[Choice, ...], *, required: bool = False) -> ScreenField:
    """A choice and one of its children."""
    return ScreenField(name, "option-with-child", required, custom="cascadingselect", choices=allowed)


def user(name: str, *, required: bool = False) -> ScreenField:
    """One account."""
    return ScreenField(name, "user", required, custom="userpicker")


def group(name: str, *, required: bool = False) -> ScreenField:
    """One group of accounts."""
    return ScreenField(name, "group", required, custom="grouppicker")


def version(name: str, allowed: tuple[Choice, ...], *, required: bool = False) -> ScreenField:
    """One version of the project."""
    return ScreenField(name, "version", required, custom="version", choices=allowed)


def versions(name: str, allowed: tuple[Choice, ...], *, required: bool = False) -> ScreenField:
    """Versions of the project; system field with the id ``versions`` or ``fixVersions``."""
    return ScreenField(name, "array", required, items="version", choices=allowed)


def components(allowed: tuple[Choice, ...], *, required: bool = False) -> ScreenField:
    """Components of the project; system field with the id ``components``."""
    return ScreenField("Components", "array", required, items="component", choices=allowed)


def labels(name: str, *, required: bool = False) -> ScreenField:
    """Words without spaces."""
    return ScreenField(name, "array", required, items="string", custom="labels")


def priority(allowed: tuple[Choice, ...], *, required: bool = False) -> ScreenField:
    """The priority; system field with the id ``priority``."""
    return ScreenField("Priority", "priority", required, choices=allowed)


def due_date(*, required: bool = False) -> ScreenField:
    """The day on which the work is due; system field with the id ``duedate``."""
    return ScreenField("Due date", "date", required)


def environment(*, required: bool = False) -> ScreenField:
    """A text of many lines; system field with the id ``environment``."""
    return ScreenField("Environment", "string", required)


# FURTHER KINDS


def users(name: str, *, required: bool = False) -> ScreenField:
    """Several accounts."""
    return ScreenField(name, "array", required, items="user", custom="multiuserpicker")


def groups(name: str, *, required: bool = False) -> ScreenField:
    """Several groups."""
    return ScreenField(name, "array", required, items="group", custom="multigrouppicker")


def team(name: str, *, required: bool = False) -> ScreenField:
    """A team of the organisation."""
    return ScreenField(name, "team", required, custom="atlassian-team")


def sprint(name: str = "Sprint", *, required: bool = False) -> ScreenField:
    """A sprint of a board."""
    return ScreenField(name, "array", required, items="json", custom="com.pyxis.greenhopper.jira:gh-sprint")


def epic_link(name: str = "Epic Link", *, required: bool = False) -> ScreenField:
    """The epic of a ticket on a Data Center."""
    return ScreenField(name, "any", required, custom="com.pyxis.greenhopper.jira:gh-epic-link")


def objects(name: str, *, required: bool = False) -> ScreenField:
    """Objects of an asset register."""
    key = "com.atlassian.jira.plugins.cmdb:cmdb-object-cftype"
    return ScreenField(name, "array", required, items="cmdb-object-field", custom=key)


def project_picker(name: str, *, required: bool = False) -> ScreenField:
    """Another project."""
    return ScreenField(name, "project", required, custom="project")


def security(levels: tuple[Choice, ...], *, required: bool = False) -> ScreenField:
    """The level of issue security; system field with the id ``security``."""
    return ScreenField("Security Level", "securitylevel", required, choices=levels)


def parent(*, required: bool = True) -> ScreenField:
    """The ticket above a sub-task; system field with the id ``parent``."""
    return ScreenField("Parent", "issuelink", required)


def time_tracking(*, required: bool = False) -> ScreenField:
    """Estimates; system field with the id ``timetracking``."""
    return ScreenField("Time tracking", "timetracking", required)


def linked_issues(*, required: bool = False) -> ScreenField:
    """Links to other tickets; system field with the id ``issuelinks``."""
    return ScreenField("Linked Issues", "array", required, items="issuelinks")


def attachment(*, required: bool = False) -> ScreenField:
    """Files; system field with the id ``attachment``."""
    return ScreenField("Attachment", "array", required, items="attachment")
