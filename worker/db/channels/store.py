"""The store of channels' settings, for operators and the doctor."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID, uuid4

from pydantic import AwareDatetime

from threadsync.actors import AnyActor, StoredActor, as_json
from threadsync.channel_settings.values import MEMBER, Reading, read_member
from threadsync.commands import MergeContext
from threadsync.dto import Dto
from threadsync.types import Outcome
from worker.db.channels import sql
from worker.db.store import Store


class ChannelAct(Dto):
    """An act on a channel's settings, without values; ``settings`` is empty where all were reset."""

    at: AwareDatetime
    settings: tuple[str, ...]
    actor: StoredActor = None
    reason: str | None = None

    @property
    def by(self) -> str:
        """Return the actor in words that tell a claim from a person in Slack."""
        return str(self.actor) if self.actor else "a program"

    def summary(self) -> str:
        return f"{', '.join(self.settings) or 'all'} by {self.by}"


class ChannelSettingsStore(Store):
    """Settings of channels; each method is one transaction. Any id of a channel leads to its settings."""

    def get(self, channel_id: str) -> Reading:
        """Read the channel's settings, and the faults in their place."""
        rows = self._rows(sql.GET_SETTINGS, {"channel_id": channel_id})
        return read_member(rows[0]["settings"] if rows else None)

    def change(
        self,
        channel_id: str,
        patch: Mapping[str, Any],
        *,
        actor: AnyActor | None,
        reason: str | None,
        command_id: UUID | None = None,
    ) -> tuple[Reading, Outcome]:
        """Apply a patch of ``threadsync.channel_settings.patches``, and record the act.

        Returns the settings after it, and the outcome of ``channels.merge_context``.
        """
        command = MergeContext(
            channel_id=channel_id, patch=patch, command_id=command_id or uuid4(), actor=actor, reason=reason
        )
        params = {
            "channel_id": command.channel_id,
            "settings": json.dumps(command.patch[MEMBER]),
            "command_id": command.command_id,
            "actor": as_json(command.actor),
            "reason": command.reason,
        }
        [row] = self._rows(sql.CHANGE_SETTINGS, params)
        return read_member(row["settings"]), row["outcome"]

    def acts(self, channel_id: str, limit: int = 50) -> tuple[ChannelAct, ...]:
        """Return the newest acts on a channel's settings, newest first."""
        rows = self._rows(sql.LIST_ACTS, {"channel_id": channel_id, "limit": limit})
        return tuple(map(ChannelAct.of_row, rows))

    def configured(self, limit: int, after: str = "") -> list[tuple[str, Reading]]:
        """Return channels that have settings or something in their place, by id, from behind ``after``."""
        return readings_of(self._rows(sql.LIST_CONFIGURED, {"after": after, "limit": limit}))


def readings_of(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, Reading]]:
    """Return the settings in rows of channels, each with its channel's id."""
    return [(row["channel_id"], read_member(row["settings"])) for row in rows]
