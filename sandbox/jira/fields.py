"""Fields of a create screen, and their choices. `sandbox.jira.kinds` makes one of each kind. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

_OURS: Final = "com.atlassian.jira.plugin.system.customfieldtypes:"


@dataclass(frozen=True)
class Choice:
    """A value that a field may have.

    Args:
        text: an option's value, or the name of a version, component, priority or security level.
        disabled: it cannot be chosen any more. Data Center says so in its list, Cloud leaves it out.
    """

    id: str
    text: str
    children: tuple[Choice, ...] = ()
    disabled: bool = False


@dataclass(frozen=True)
class Chosen:
    """A choice of a cascading option and, where one was made, of its children."""

    parent: Choice
    child: Choice | None = None


@dataclass(frozen=True)
class ScreenField:
    """A field of the create screen.

    Args:
        type: as Jira's schema names it; ``items`` is that of an array's elements, "string" if it is not told.
        custom: key of a custom field's type, of Jira's own ones without the plug-in's name.
        choices: the allowed values; an empty tuple is a list without any, None no list.
        default: value of a new ticket without one, as it is stored: text, number, `Choice`, list of these.
        has_default: True if Jira says that there is a default. It may have one that it does not tell.
    """

    name: str
    type: str = "string"
    required: bool = False
    has_default: bool = False
    items: str | None = None
    custom: str | None = None
    choices: tuple[Choice, ...] | None = None
    default: Any = None

    @property
    def custom_key(self) -> str | None:
        """The whole key of the custom type; None for one that is not told."""
        if self.custom is None or ":" in self.custom:
            return self.custom
        return _OURS + self.custom

    @property
    def values_are(self) -> str:
        """The type of a value, or of an array's elements."""
        return (self.items or "string") if self.type == "array" else self.type

    @property
    def has_users(self) -> bool:
        """True if the values are accounts, for which a client searches."""
        return self.values_are == "user"

    def with_default(self, value: Any) -> ScreenField:
        """Return the field with a default, as it is stored."""
        return replace(self, has_default=True, default=value)


def choices(first_id: int, *texts: str) -> tuple[Choice, ...]:
    """Make choices with ids from ``first_id`` on."""
    return tuple(Choice(str(first_id + place), text) for place, text in enumerate(texts))


def cascade(first_id: int, **children: tuple[str, ...]) -> tuple[Choice, ...]:
    """Make the choices of a cascading option: a parent for each name, with its children."""
    parents = []
    for place, (text, texts) in enumerate(children.items()):
        parent = first_id + 100 * place
        parents.append(Choice(str(parent), text, choices(parent + 1, *texts)))
    return tuple(parents)


PRIORITIES: Final = choices(1, "Highest", "High", "Medium", "Low", "Lowest")
"""The priorities that each site has."""


def first_screen() -> dict[str, ScreenField]:
    """Return the fields of the screen that a project without one of its own has, by id."""
    return {
        "project": ScreenField("Project", "project", required=True),
        "issuetype": ScreenField("Issue Type", "issuetype", required=True),
        "summary": ScreenField("Summary", required=True),
        "description": ScreenField("Description"),
        "labels": ScreenField("Labels", "array"),
        "reporter": ScreenField("Reporter", "user", required=True, has_default=True),
        "priority": ScreenField("Priority", "priority", choices=PRIORITIES).with_default(PRIORITIES[2]),
        "assignee": ScreenField("Assignee", "user"),
    }


def screen(fields: Mapping[str, ScreenField], *, reporter_has_default: bool = True) -> dict[str, ScreenField]:
    """Return the first screen with further fields, by id.

    Args:
        reporter_has_default: False lets createmeta call the reporter required and without a default, as many
            sites do, although Jira sets it.
    """
    first = first_screen()
    if not reporter_has_default:
        first["reporter"] = replace(first["reporter"], has_default=False)
    return {**first, **fields}
