"""Do what a person's payload asks: enqueue its command, and tell the person of an error or a refusal."""

from __future__ import annotations

from typing import Final, TypeVar

import structlog

from handlers import replies
from handlers.follow_ups import FollowUps
from handlers.mapping import Payload
from handlers.members import Members
from handlers.requests import user_of
from threadsync import AsyncSessionClient
from threadsync.command import Command
from threadsync.errors import ThreadsyncError
from threadsync.handles import AsyncHandle

log = structlog.get_logger(__name__)

R = TypeVar("R")

_LOGGED: Final = ("channel_id", "new_channel_id", "thread_ts", "user_id", "status", "session_id", "actor")
"""Arguments without text written by users."""


class Acting:
    """Send what listeners ask for, and answer people. ``url`` is a payload's response URL, perhaps empty."""

    def __init__(self, client: AsyncSessionClient, follow_ups: FollowUps, members: Members) -> None:
        self.client = client
        self.follow_ups = follow_ups
        self.members = members

    async def enqueue(self, command: Command[R], task_id: str | None = None) -> AsyncHandle[R]:
        """Send the command, and log it. Raises ``EnqueueFailed``."""
        handle = await self.client.enqueue(command, task_id=task_id)
        arguments = {name: value for name, value in command.arguments().items() if name in _LOGGED}
        if isinstance(actor := arguments.get("actor"), dict):
            arguments["actor"] = {name: value for name, value in actor.items() if name != "groups"}
        log.info("command enqueued", command=command.name, task_id=handle.task_id, **arguments)
        return handle

    def refuse(self, body: Payload, url: str) -> None:
        """Tell the person that they may not act; not more often than is good."""
        if self.members.is_to_be_told(body):
            self.follow_ups.tell(url, replies.MAY_NOT_ACT, user_of(body))

    def tell(self, url: str, error: ThreadsyncError, user: str = "") -> None:
        """Tell the person of a command that was not sent."""
        log.warning("command not enqueued", error_type=type(error).__name__, reason=str(error))
        self.follow_ups.tell(url, replies.describe_error(error), user)
