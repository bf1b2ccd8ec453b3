"""The command that posts a thread's first reply, for a web process whose own attempt Slack refused."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from threadsync.command import Command
from threadsync.queues import MAINTENANCE_QUEUE
from threadsync.types import AnyUuid, SlackId, SlackTs

REPLY_EVENT_TYPE: Final = "threadsync_reply"
"""The metadata by which a reply is found again: it may have been posted, and the response lost."""

ReplyAnswer = Literal["said", "given up", "no token"]


class SayReply(Command[ReplyAnswer]):
    """Post a reply once, as soon as Slack takes it.

    Args:
        since: unix seconds of about the first attempt; the reply is looked for among younger messages.
        maybe_said: whether that attempt had no clear end.
    """

    name = "maintenance.reply"
    queue: ClassVar[str] = MAINTENANCE_QUEUE
    session_id: AnyUuid
    channel_id: SlackId
    thread_ts: SlackTs
    text: Annotated[str, Field(min_length=1, max_length=3000)]
    blocks: Annotated[list[dict[str, Any]], Field(max_length=10)]
    since: Annotated[float, Field(ge=0, le=9_999_999_999)]
    maybe_said: bool = False

    def summary(self) -> str:
        return f"{self.channel_id} {self.thread_ts}"
