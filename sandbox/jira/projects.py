"""Projects of the sandbox Jira: their issue types and screens, and who may see their tickets. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.jira.accounts import EVERYONE, Audience, SecurityLevel
from sandbox.jira.fields import ScreenField


@dataclass(frozen=True)
class IssueType:
    """An issue type of a project, with the fields of its create screen by id."""

    id: str
    name: str
    screen: Mapping[str, ScreenField]
    subtask: bool = False


@dataclass(frozen=True)
class Project:
    """Set-up of a project.

    Args:
        name: shown to people; "" for the key.
        types: None for the types and the screen that the site has for all.
        browse: who sees tickets; ``Audience(everyone=False, reporter=True)`` hides each from all but its
            reporter, which Jira allows.
        levels: levels of issue security.
        default_level: id of the level that a new ticket gets without one; None for none.
        reporter_settable: False if the account may not set the reporter ("Modify reporter" is not granted).
        creatable: False if the account may see the project and create nothing in it.
    """

    name: str = ""
    types: tuple[IssueType, ...] | None = None
    browse: Audience = EVERYONE
    levels: tuple[SecurityLevel, ...] = ()
    default_level: str | None = None
    reporter_settable: bool = True
    creatable: bool = True

    def level(self, level_id: str | None) -> SecurityLevel | None:
        """Return the level of issue security with this id; None if there is none."""
        return next((level for level in self.levels if level.id == level_id), None)

    def shows(self, level_id: str | None, account_id: str, reporter_id: str | None) -> bool:
        """Return True if the account sees the project's ticket with this level and reporter."""
        level = self.level(level_id)
        return self.browse.admits(account_id, reporter_id) and (
            level is None or level.audience.admits(account_id, reporter_id)
        )
