"""Carry out ``/ticket config``: show a channel's settings, or change them after asking Jira."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from handlers import replies
from threadsync import AsyncSessionClient
from threadsync.actors import SlackActor
from threadsync.channel_settings.directory import (
    Checked,
    IssueType,
    Known,
    Project,
    Refusal,
    check,
    questions,
)
from threadsync.channel_settings.parsing import Change, ConfigRequest, Show
from threadsync.channel_settings.patches import resetting, setting
from threadsync.channel_settings.values import (
    NAMES,
    ChannelSettings,
    Reading,
    SettingName,
    Value,
    read_settings,
)
from threadsync.channel_settings.words import removed, saved, shown
from threadsync.commands import GetContext, MergeContext
from threadsync.errors import ResultTimeout, ThreadsyncError
from threadsync.types import Outcome
from worker.text.slack_text import escape

log = structlog.get_logger(__name__)

_READ_SECONDS: Final = 1.5
_WRITE_SECONDS: Final = 30.0
_ID: Final = re.compile(r"[UWS][A-Z0-9]{1,63}", re.ASCII)
_NOT_SET: Final = "This channel has no settings of its own: drafts and the installation decide."
_HOW: Final = (
    f"Set: `/ticket config name=value …`. Remove: `/ticket config reset [name]`. Names: {', '.join(NAMES)}."
)


class JiraDirectory(Protocol):
    """The projects and types that Jira has. None: Jira gave no answer in time, or there is none to ask."""

    async def projects(self, query: str) -> Sequence[Project] | None:
        """List the projects whose key or name has the query in it; all of them for an empty one."""

    async def issue_types(self, project_key: str) -> Sequence[IssueType] | None:
        """List the types of a project's issues."""


class NoDirectory:
    """A directory without answers: what it is asked about is saved without being verified."""

    async def projects(self, query: str) -> None:
        return None

    async def issue_types(self, project_key: str) -> None:
        return None


class ChannelConfig:
    """Settings of channels, for people in Slack.

    Args:
        project_key: of the installation, where this process knows it.
    """

    def __init__(
        self,
        client: AsyncSessionClient,
        directory: JiraDirectory | None = None,
        project_key: str | None = None,
    ) -> None:
        self._client = client
        self._directory = directory or NoDirectory()
        self._project_key = project_key

    async def answer(
        self, channel_id: str, request: ConfigRequest, actor: SlackActor | None, command_id: UUID
    ) -> str:
        """Carry out a request; return the sentences for its author. Our own errors become sentences.

        Args:
            command_id: the same when the same request comes again, which is carried out once.
        """
        try:
            if isinstance(request, Show):
                reading = await self._read(channel_id)
                return describe(reading) if reading else replies.NOT_LOOKED_UP
            if actor is None:
                return replies.NO_ACTOR
            if actor.member is False:
                return replies.ONLY_MEMBERS_SET
            if isinstance(request, Change):
                return await self._change(channel_id, request, actor, command_id)
            outcome = await self._merge(channel_id, resetting(request.name), actor, command_id)
            return _unless_refused(outcome, removed(request.name, outcome))
        except ThreadsyncError as exc:
            log.warning("settings not changed", channel_id=channel_id, error_type=type(exc).__name__)
            return replies.describe_error(exc)

    async def _change(self, channel_id: str, wanted: Change, actor: SlackActor, command_id: UUID) -> str:
        reading = await self._read(channel_id)
        if reading is None:
            return replies.NOT_LOOKED_UP
        current = reading.settings
        checked = check(wanted, await self._known(wanted, current), current, self._project_key)
        if isinstance(checked, Refusal):
            return f"Nothing changed: {escape(str(checked))}"
        return await self._save(channel_id, checked, actor, command_id)

    async def _save(self, channel_id: str, checked: Checked, actor: SlackActor, command_id: UUID) -> str:
        patch = setting(checked.change.values, checked.unverified)
        outcome = await self._merge(channel_id, patch, actor, command_id)
        return _unless_refused(outcome, saved(replace(checked, note=escape(checked.note)), outcome, _shown))

    async def _known(self, wanted: Change, current: ChannelSettings) -> Known:
        """Ask Jira for what the check needs, about project and types at the same time."""
        asked = questions(wanted, current, self._project_key)
        projects, types = await asyncio.gather(self._projects(asked.project), self._types(asked.types_of))
        if projects is not None and asked.project not in {each.key for each in projects}:
            # For the answer, which lists those that there are.
            return Known(await self._directory.projects("") or projects)
        return Known(projects, types)

    async def _projects(self, query: str | None) -> Sequence[Project] | None:
        return await self._directory.projects(query) if query else None

    async def _types(self, project_key: str | None) -> Sequence[IssueType] | None:
        return await self._directory.issue_types(project_key) if project_key else None

    async def _read(self, channel_id: str) -> Reading | None:
        """Read the settings; None if they are not there in time."""
        handle = await self._client.enqueue(GetContext(channel_id=channel_id))
        try:
            context = await handle.get(timeout=_READ_SECONDS)
        except ResultTimeout:
            return None
        return read_settings(context.context_data if context else {})

    async def _merge(
        self, channel_id: str, patch: dict[str, Any], actor: SlackActor, command_id: UUID
    ) -> Outcome:
        command = MergeContext(channel_id=channel_id, patch=patch, command_id=command_id, actor=actor)
        handle = await self._client.enqueue(command)
        return (await handle.get(timeout=_WRITE_SECONDS)).outcome


def describe(reading: Reading) -> str:
    """List a channel's settings, with what is wrong in their place."""
    settings = reading.settings
    remarks = dict.fromkeys(settings.unverified, " (not confirmed by Jira yet)")
    listed = [
        f"• {name}: {_shown(name, value)}{remarks.get(name, '')}" for name, value in settings.values().items()
    ]
    faults = [f"• ignored: {escape(str(fault))}" for fault in reading.faults]
    return "\n".join([*(["*Settings of this channel*", *listed] if listed else [_NOT_SET]), *faults, _HOW])


def _shown(name: SettingName, value: Value) -> str:
    """Show a value; people and groups by the names that Slack has for them."""
    if name == "who" and isinstance(value, tuple) and all(map(_ID.fullmatch, value)):
        return ", ".join(f"<!subteam^{each}>" if each.startswith("S") else f"<@{each}>" for each in value)
    return escape(shown(value))


def _unless_refused(outcome: Outcome, said: str) -> str:
    return replies.MAY_NOT_ACT_HERE if outcome == "refused" else said
