"""Carry out operators' changes of a channel's settings, from the command line and the console.

All raise ``InvalidCommand`` for what cannot be set, and ``DatabaseUnavailable``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from threadsync.channel_settings.directory import (
    Checked,
    IssueType,
    Known,
    Project,
    Refusal,
    check,
    questions,
)
from threadsync.channel_settings.parsing import Change
from threadsync.channel_settings.patches import resetting, setting
from threadsync.channel_settings.values import NO_SETTINGS, ChannelSettings, SettingName
from threadsync.channel_settings.words import removed, saved
from threadsync.config import get_settings
from threadsync.errors import InvalidCommand
from worker.db.channels.store import ChannelSettingsStore
from worker.operate.decisions import Signature

if TYPE_CHECKING:
    from worker.db.pool import Pool


class Directory(Protocol):
    """The projects and types that Jira has. None: Jira gave no answer, or there is none to ask."""

    def projects(self, query: str) -> Sequence[Project] | None:
        """List the projects whose key or name has the query in it; all of them for an empty one."""

    def issue_types(self, project_key: str) -> Sequence[IssueType] | None:
        """List the types of a project's issues."""


class NoDirectory:
    """A directory without answers: what it is asked about stays unverified."""

    def projects(self, query: str) -> None:
        return None

    def issue_types(self, project_key: str) -> None:
        return None


def change(
    pool: Pool, channel_id: str, wanted: Change, by: Signature, directory: Directory | None = None
) -> tuple[ChannelSettings, str]:
    """Set values in a channel. Return its settings, and a sentence on what was set.

    Raises ``InvalidCommand`` for a project or type that Jira does not have, with those that it has.
    """
    store, default = ChannelSettingsStore(pool), get_settings().jira_project_key
    current = store.get(channel_id).settings
    checked = check(wanted, known(directory or NoDirectory(), wanted, current, default), current, default)
    if isinstance(checked, Refusal):
        raise InvalidCommand(f"nothing changed: {checked}")
    return _saved(store, channel_id, checked, by)


def reset(
    pool: Pool, channel_id: str, name: SettingName | None, by: Signature
) -> tuple[ChannelSettings, str]:
    """Remove one setting of a channel, or all. Return its settings, and a sentence."""
    reading, outcome = ChannelSettingsStore(pool).change(
        channel_id, resetting(name), actor=by.acted_by, reason=by.reason
    )
    return reading.settings, removed(name, outcome)


def known(
    directory: Directory, wanted: Change, current: ChannelSettings = NO_SETTINGS, default: str | None = None
) -> Known:
    """Ask for what the check needs."""
    asked = questions(wanted, current, default)
    projects = directory.projects(asked.project) if asked.project else None
    if projects is not None and asked.project not in {each.key for each in projects}:
        # For the answer, which lists those that there are.
        return Known(directory.projects("") or projects)
    return Known(projects, directory.issue_types(asked.types_of) if asked.types_of else None)


def _saved(
    store: ChannelSettingsStore, channel_id: str, checked: Checked, by: Signature
) -> tuple[ChannelSettings, str]:
    patch = setting(checked.change.values, checked.unverified)
    reading, outcome = store.change(channel_id, patch, actor=by.acted_by, reason=by.reason)
    return reading.settings, saved(checked, outcome)
