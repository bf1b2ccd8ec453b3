"""Channels: their context, and their other ids."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime

from threadsync.dto import Dto
from threadsync.types import Outcome, SlackId


class ChannelContext(Dto):
    """A channel's context, which clients patch. ``version`` counts the patches applied, from 1."""

    channel_id: SlackId
    context_data: dict[str, Any]
    version: int
    updated_at: AwareDatetime

    def summary(self) -> str:
        return f"{self.channel_id} → context version {self.version}"


class ContextResult(ChannelContext):
    """A channel's context after a patch, and the patch's ``outcome``.

    ``created | applied | unchanged | stale``, or ``refused``: this person may not act in the channel.
    """

    outcome: Outcome

    def summary(self) -> str:
        return f"{super().summary()}: {self.outcome}"


class ChannelMove(Dto):
    """A channel that got another id: ``applied``, or ``unchanged`` when that was known.

    Its rows stand under ``home_id``, calls to Slack go to ``newest_id``; ``sessions`` is how many threads had
    a session under both ids and have one now.
    """

    channel_id: SlackId
    new_channel_id: SlackId
    home_id: SlackId
    newest_id: SlackId
    sessions: int
    outcome: Outcome

    def summary(self) -> str:
        return f"{self.channel_id} → {self.new_channel_id}: {self.outcome}"
