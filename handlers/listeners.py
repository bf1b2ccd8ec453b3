"""What we do for each kind of Slack payload: enqueue its command, and tell the user in the background."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp

from handlers import replies
from handlers.background import Background
from handlers.mapping import (
    OPEN_SHORTCUT,
    READY_BUTTON,
    command_for_button,
    command_for_event,
    command_for_shortcut,
)
from handlers.slack_api import SlackApi
from handlers.ticket_answer import answer_ticket_command
from handlers.ticket_command import SLASH_COMMAND
from tasks.client import AsyncHandle, AsyncSessionClient
from tasks.commands import Command
from worker.db.models import SessionResult
from worker.errors import ThreadsyncError

log = structlog.get_logger(__name__)

Body = dict[str, Any]
Handle = AsyncHandle[SessionResult]

_RESULT_SECONDS: Final = 10
_LATE_RESULT_SECONDS: Final = 45
"""Longer than a command waits for its session, so that the user hears how that ended."""


class Listeners:
    """Bolt calls these; each enqueues and does nothing else that must last.

    An event whose command was not enqueued raises, so that Slack delivers it again. Slack repeats nothing
    that a user clicked or typed: there the user is asked to try again.
    """

    def __init__(self, client: AsyncSessionClient, slack: SlackApi, background: Background) -> None:
        self._client = client
        self._slack = slack
        self._background = background

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
            self._follow(await self._enqueue(command))

    async def on_slash_command(self, ack: AsyncAck, body: Body) -> None:
        """``/ticket …``: the answer is the response, for the user alone."""
        answer = await answer_ticket_command(self._client, body)
        if answer.pending and answer.request:
            describe = partial(replies.describe_change, answer.request)
            self._follow(answer.pending, body, describe, _LATE_RESULT_SECONDS)
        await ack(text=answer.text, response_type="ephemeral")

    async def on_shortcut(self, ack: AsyncAck, body: Body) -> None:
        """The message shortcut: as a mention, and the user is told."""
        await ack()
        handle = await self._enqueue_for_user(body, command_for_shortcut)
        if handle:
            self._follow(handle, body)

    async def on_button(self, ack: AsyncAck, body: Body) -> None:
        """The button below our reply: the thread is ready."""
        await ack()
        handle = await self._enqueue_for_user(body, command_for_button)
        if handle:
            self._follow(handle, body, replies.describe_ready, _LATE_RESULT_SECONDS)

    async def _enqueue(self, command: Command[SessionResult]) -> Handle:
        handle = await self._client.enqueue(command)
        log.info("command enqueued", command=command.name, task_id=handle.task_id, **command.arguments())
        return handle

    async def _enqueue_for_user(
        self, body: Body, command_for: Callable[[Body], Command[SessionResult]]
    ) -> Handle | None:
        try:
            return await self._enqueue(command_for(body))
        except ThreadsyncError as exc:
            log.warning("command not enqueued", error_type=type(exc).__name__, reason=str(exc))
            if url := body.get("response_url"):
                self._background.start(self._slack.respond(url, replies.describe_error(exc)), "answer")
            return None

    def _follow(
        self,
        handle: Handle,
        body: Body | None = None,
        describe: Callable[[SessionResult], str] = replies.describe_opening,
        seconds: float = _RESULT_SECONDS,
    ) -> None:
        """Wait for the result in the background; reply in a new thread, and tell the user who clicked."""
        url = (body or {}).get("response_url", "")

        async def follow() -> None:
            try:
                session = await handle.get(timeout=seconds)
            except ThreadsyncError as exc:
                log.warning("no result", task_id=handle.task_id, error_type=type(exc).__name__)
                text = replies.describe_error(exc)
            else:
                await self._reply_if_created(session)
                text = describe(session)
            if url:
                await self._slack.respond(url, text)

        self._background.start(follow(), "follow-up")

    async def _reply_if_created(self, session: SessionResult) -> None:
        """A redelivered or doubled event finds the session there, and stays silent."""
        if session.outcome == "created":
            blocks = replies.opened_blocks(session.thread_ts)
            await self._slack.post_in_thread(session.channel_id, session.thread_ts, replies.OPENED, blocks)
