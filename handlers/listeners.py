"""What we do for each kind of Slack payload: enqueue its command, and see to it that the user is told."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp

from handlers import replies
from handlers.follow_ups import FollowUps
from handlers.mapping import (
    OPEN_SHORTCUT,
    READY_BUTTON,
    command_for_button,
    command_for_event,
    command_for_shortcut,
)
from handlers.ticket_answer import answer_ticket_command
from handlers.ticket_command import SLASH_COMMAND
from tasks.client import AsyncHandle, AsyncSessionClient
from tasks.command import Command
from worker.db.models import SessionResult
from worker.errors import ThreadsyncError

log = structlog.get_logger(__name__)

Body = dict[str, Any]


class Listeners:
    """Bolt calls these; each enqueues and does nothing else that must last.

    An event whose command was not enqueued raises, so that Slack delivers it again. Slack repeats nothing
    that a user clicked or typed: there the user is asked to try again.
    """

    def __init__(self, client: AsyncSessionClient, follow_ups: FollowUps) -> None:
        self._client = client
        self._follow_ups = follow_ups

    def register(self, app: AsyncApp) -> None:
        """Attach every listener."""
        app.event("app_mention")(self.on_event)
        app.event("message")(self.on_event)
        app.command(SLASH_COMMAND)(self.on_slash_command)
        app.shortcut({"type": "message_action", "callback_id": OPEN_SHORTCUT})(self.on_shortcut)
        app.action({"type": "block_actions", "action_id": READY_BUTTON})(self.on_button)

    async def on_event(self, body: Body) -> None:
        """A mention or a message. A thread gets one reply, from the event that created its session."""
        command = command_for_event(body["event"])
        if command is not None:
            self._follow_ups.of_event(await self._enqueue(command))

    async def on_slash_command(self, ack: AsyncAck, body: Body) -> None:
        """``/ticket …``: the answer is the response, for the user alone."""
        answer = await answer_ticket_command(self._client, body)
        if answer.pending and answer.request:
            describe = partial(replies.describe_change, answer.request)
            self._follow_ups.of_user(answer.pending, _response_url(body), describe)
        await ack(text=answer.text, response_type="ephemeral")

    async def on_shortcut(self, ack: AsyncAck, body: Body) -> None:
        """The message shortcut: as a mention, and the user is told."""
        await ack()
        await self._do_for_user(body, command_for_shortcut, replies.describe_opening)

    async def on_button(self, ack: AsyncAck, body: Body) -> None:
        """The button below our reply: the thread is ready."""
        await ack()
        await self._do_for_user(body, command_for_button, replies.describe_ready)

    async def _do_for_user(
        self,
        body: Body,
        command_for: Callable[[Body], Command[SessionResult]],
        describe: Callable[[SessionResult], str],
    ) -> None:
        try:
            handle = await self._enqueue(command_for(body))
        except ThreadsyncError as exc:
            log.warning("command not enqueued", error_type=type(exc).__name__, reason=str(exc))
            self._follow_ups.tell(_response_url(body), replies.describe_error(exc))
        else:
            self._follow_ups.of_user(handle, _response_url(body), describe)

    async def _enqueue(self, command: Command[SessionResult]) -> AsyncHandle[SessionResult]:
        handle = await self._client.enqueue(command)
        log.info("command enqueued", command=command.name, task_id=handle.task_id, **command.arguments())
        return handle


def _response_url(body: Body) -> str:
    return str(body.get("response_url") or "")
