"""Compare a change of a channel's settings with the projects and types that Jira has.

A key or type that Jira does not know is refused, with those that there are. What could not be asked, because
Jira is away, is ``unverified``: it is saved, and people are told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from threadsync.channel_settings.parsing import Change
from threadsync.channel_settings.values import NO_SETTINGS, ChannelSettings, SettingName

_LISTED: Final = 20


class Project(NamedTuple):
    """A project of Jira's."""

    key: str
    name: str


class IssueType(NamedTuple):
    """A type of a project's issues."""

    id: str
    name: str
    subtask: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What Jira has said: None for what it was not asked, or did not answer.

    ``projects`` are those that match the key asked for, or all that are listed; ``issue_types`` are of the
    project that the channel would have.
    """

    projects: Sequence[Project] | None = None
    issue_types: Sequence[IssueType] | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A value that Jira does not know, and what there is in its place, in words."""

    name: SettingName
    value: str
    place: str
    existing: tuple[str, ...]

    def __str__(self) -> str:
        what = "project" if self.name == "project_key" else "issue type for tickets"
        return f"Jira has no {what} {self.value!r}{self.place}, or I may not see it. {_listed(self.existing)}"


@dataclass(frozen=True, slots=True)
class Checked:
    """A change as it is to be saved, with values as Jira spells them.

    ``unverified`` names settings that Jira has not confirmed. ``note`` is a sentence on what will not fit, or
    empty.
    """

    change: Change
    unverified: frozenset[SettingName] = frozenset()
    note: str = ""


def project_after(
    change: Change, current: ChannelSettings = NO_SETTINGS, default: str | None = None
) -> str | None:
    """Return the project that the channel's tickets would go to; ``default`` is that of the settings."""
    given = change.values.get("project_key")
    return given if isinstance(given, str) else current.project_key or default


def type_after(change: Change, current: ChannelSettings = NO_SETTINGS) -> str | None:
    """Return the type that the channel would have of its own."""
    given = change.values.get("issue_type")
    return given if isinstance(given, str) else current.issue_type


@dataclass(frozen=True, slots=True)
class Questions:
    """What Jira is to be asked for a check: a project's key, and the project whose types are needed."""

    project: str | None = None
    types_of: str | None = None


def questions(
    change: Change, current: ChannelSettings = NO_SETTINGS, default: str | None = None
) -> Questions:
    """Return what Jira is to be asked about the change; nothing for settings that it cannot confirm."""
    given = change.values.get("project_key")
    if "issue_type" not in change.values and not (given and current.issue_type):
        return Questions(given if isinstance(given, str) else None)
    return Questions(given if isinstance(given, str) else None, project_after(change, current, default))


def check(
    change: Change, known: Known, current: ChannelSettings = NO_SETTINGS, default: str | None = None
) -> Checked | Refusal:
    """Compare the change with what Jira has said.

    Args:
        default: the project of the settings, where neither the change nor the channel has one.
    """
    values = dict(change.values)
    unverified: set[SettingName] = set()
    project = project_after(change, current, default)
    if "project_key" in values:
        if known.projects is None:
            unverified.add("project_key")
        elif project not in {each.key for each in known.projects}:
            return Refusal("project_key", str(project), "", tuple(map(_project, known.projects)))
    wanted = type_after(change, current)
    there = tuple(each for each in known.issue_types or () if not each.subtask)
    found = _type_in(there, wanted) if wanted else None
    if "issue_type" in values:
        if known.issue_types is None:
            unverified.add("issue_type")
        elif found is None:
            return Refusal("issue_type", str(wanted), f" in {project}", tuple(each.name for each in there))
        else:
            values["issue_type"] = found
    elif "project_key" in values and wanted and known.issue_types is not None and found is None:
        names = _listed(each.name for each in there)
        note = f"The channel's issue type {wanted!r} is none of {project}. Set issue_type, too. {names}"
        return Checked(Change(values), frozenset(unverified), note)
    return Checked(Change(values), frozenset(unverified))


def _type_in(types: Iterable[IssueType], wanted: str) -> str | None:
    """Return the type's id if it was given, else its name as Jira spells it."""
    types = tuple(types)
    if any(each.id == wanted for each in types):
        return wanted
    exactly = [each.name for each in types if each.name == wanted]
    alike = [each.name for each in types if each.name.casefold() == wanted.casefold()]
    return next(iter(exactly + alike), None)


def _project(project: Project) -> str:
    return f"{project.key} ({project.name})"


def _listed(names: Iterable[str]) -> str:
    names = tuple(names)
    if not names:
        return "I can see none."
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"There are: {', '.join(names[:_LISTED])}{more}."
