"""Resolve what a ticket is made with: the draft's value, else the channel's, else that of the settings.

Labels are united. Each value is resolved alone: a draft with a project of its own may get the channel's type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from threadsync.channel_settings.values import ChannelSettings
from threadsync.syncs import Draft, MadeWith, Source


@dataclass(frozen=True, slots=True)
class Sourced:
    """A value, and where it comes from."""

    value: str
    source: Source


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a channel's tickets are made with where their drafts say nothing."""

    project: Sourced | None
    issue_type: Sourced
    priority: Sourced | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolved:
    """What one ticket is made with. ``labels`` are the draft's, then those of the channel."""

    project: Sourced | None
    issue_type: Sourced
    priority: Sourced | None
    labels: tuple[str, ...]


SOURCE_WORDS: Final[Mapping[Source, str]] = {
    "draft": "the draft",
    "channel": "the channel's settings",
    "settings": "the settings of the installation",
}
"""Where a value comes from, for people, to stand behind "from"."""


def defaults_of(channel: ChannelSettings, project_key: str | None, issue_type: str) -> Defaults:
    """Return the defaults of a channel's tickets; ``project_key`` and ``issue_type`` are of the settings."""
    return Defaults(
        _first(None, channel.project_key, project_key),
        _first(None, channel.issue_type, None) or Sourced(issue_type, "settings"),
        _first(None, channel.priority, None),
        channel.labels,
    )


def resolve(draft: Draft, defaults: Defaults) -> Resolved:
    """Return what the draft's ticket is made with."""
    drafted = (draft.project_key, draft.issue_type, draft.priority)
    project, issue_type, priority = (Sourced(value, "draft") if value else None for value in drafted)
    return Resolved(
        project or defaults.project,
        issue_type or defaults.issue_type,
        priority or defaults.priority,
        tuple(dict.fromkeys((*draft.labels, *defaults.labels))),
    )


def _first(draft: str | None, channel: str | None, settings: str | None) -> Sourced | None:
    values: tuple[tuple[str | None, Source], ...] = (
        (draft, "draft"),
        (channel, "channel"),
        (settings, "settings"),
    )
    return next((Sourced(value, source) for value, source in values if value), None)


def describe(made_with: MadeWith) -> str:
    """Say what a ticket was made with and where that comes from, to stand behind other words."""
    project_from, type_from = SOURCE_WORDS[made_with.project_from], SOURCE_WORDS[made_with.issue_type_from]
    issue_type = f"type {made_with.issue_type}" if made_with.issue_type else "type"
    if project_from == type_from:
        return f"project {made_with.project_key} and {issue_type} from {project_from}"
    return f"project {made_with.project_key} from {project_from}, {issue_type} from {type_from}"
