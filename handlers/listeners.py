"""Handle each kind of Slack payload: enqueue its command, and tell the user the result."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltRequest

from handlers import replies
from handlers.acting import Acting
from handlers.channel_config import ChannelConfig
from handlers.event_ids import EventIds
from handlers.mapping import (
    OPEN_SHORTCUT,
    READY_BUTTON,
    by,
    command_for_button,
    command_for_event,
    command_for_move,
    command_for_retry,
    command_for_shortcut,
    is_of_slacks_types,
)
from handlers.members import MayNotAct
from handlers.requests import response_url_in, retries_of, sent_at, user_of
from handlers.ticket_command import SLASH_COMMAND
from handlers.ticket_reply import reply_to_ticket_command
from threadsync.command import Command
from threadsync.commands import GetOrCreate
from threadsync.errors import InvalidCommand, ThreadsyncError
from threadsync.sessions import SessionResult
from worker.text.slack_names import RETRY_BUTTON

log = structlog.get_logger(__name__)

Body = dict[str, Any]
R = TypeVar("R")


class Listeners:
    """Bolt's listeners; each enqueues, and does nothing else that must last.

    An event whose command was not enqueued raises, so that Slack delivers it again. Slack repeats nothing
    that a user clicked or typed: there the user is asked to try again.
    """

    def __init__(
        self, acting: Acting, jira_url: str | None = None, config: ChannelConfig | None = None
    ) -> None:
        self._config = config
        self._acting = acting
        self._follow_ups = acting.follow_ups
        self._members = acting.members
        self._event_ids = EventIds()
        self._jira_url = jira_url

    def register(self, app: AsyncApp) -> None:
        """Attach every listener."""
        app.event("app_mention")(self.on_event)
        app.event("message")(self.on_event)
        app.event("channel_id_changed")(self.on_move)
        app.command(SLASH_COMMAND)(self.on_slash_command)
        app.shortcut({"type": "message_action", "callback_id": OPEN_SHORTCUT})(self.on_shortcut)
        app.action({"type": "block_actions", "action_id": READY_BUTTON})(self.on_button)
        app.action({"type": "block_actions", "action_id": RETRY_BUTTON})(self.on_retry_button)

    async def on_event(self, body: Body, request: AsyncBoltRequest) -> None:
        """Handle a mention or a message. The event that creates a session causes the thread's one reply."""
        event = body["event"]
        try:
            command = command_for_event(event)
        except InvalidCommand as exc:
            if not is_of_slacks_types(event):
                raise
            # Slack would send the same again, and after enough refusals no event at all.
            log.warning("event ignored", reason=str(exc))
            return
        if command is None:
            return
        try:
            actor = await self._members.actor_of(body)
        except MayNotAct:
            # A mention addresses us; other messages in a thread do not.
            if event.get("type") == "app_mention" and self._members.is_to_be_told(body):
                self._follow_ups.tell_privately(
                    command.channel_id, command.user_id, command.thread_ts, replies.MAY_NOT_ACT
                )
            return
        self._follow_ups.expect_event(command.user_id)
        task_id = self._event_ids.task_id(body.get("event_id"), retries_of(request))
        handle = await self._acting.enqueue(by(actor, command), task_id)
        self._follow_ups.of_event(handle, command.user_id, partial(self._refuse_here, body, command))

    async def on_move(self, body: Body, request: AsyncBoltRequest) -> None:
        """Handle a channel's new id. Both ids lead to its sessions afterwards."""
        try:
            command = command_for_move(body["event"])
        except InvalidCommand as exc:
            log.warning("event ignored", reason=str(exc))
            return
        if command is not None:
            await self._acting.enqueue(
                command, self._event_ids.task_id(body.get("event_id"), retries_of(request))
            )

    async def on_slash_command(self, ack: AsyncAck, body: Body, request: AsyncBoltRequest) -> None:
        """Handle ``/ticket …``: the response is for the user alone."""
        try:
            actor = await self._members.actor_of(body)
        except MayNotAct:
            if self._members.is_to_be_told(body):
                await ack(text=replies.MAY_NOT_ACT, response_type="ephemeral")
            else:
                await ack()
            return
        answer = await reply_to_ticket_command(
            self._acting.client, body, self._jira_url, actor, sent_at(request), self._config
        )
        if answer.pending and answer.request:
            describe = partial(replies.describe_change, answer.request)
            self._follow_ups.of_user(answer.pending, response_url_in(body), describe, user_of(body))
        if answer.asked:
            self._follow_ups.of_link(answer.asked, response_url_in(body), user_of(body))
        if answer.later:
            self._follow_ups.of_text(answer.later, response_url_in(body), user_of(body))
        await ack(text=answer.text, response_type="ephemeral")

    async def on_shortcut(self, ack: AsyncAck, body: Body) -> None:
        """Handle the message shortcut: as a mention, and tell the user."""
        await ack()
        await self._do_for_user(body, command_for_shortcut, replies.describe_opening)

    async def on_button(self, ack: AsyncAck, body: Body) -> None:
        """Handle the button below our reply: the thread is ready."""
        await ack()
        await self._do_for_user(body, command_for_button, replies.describe_ready)

    async def on_retry_button(self, ack: AsyncAck, body: Body) -> None:
        """Handle a status message's retry button. The message shows the result; tell the user a refusal."""
        await ack()
        url = response_url_in(body)
        try:
            actor = await self._members.actor_of(body)
            handle = await self._acting.enqueue(by(actor, command_for_retry(body)))
        except MayNotAct:
            self._acting.refuse(body, url)
        except ThreadsyncError as exc:
            self._acting.tell(url, exc, user_of(body))
        else:
            self._follow_ups.of_refusal(handle, url, user_of(body))

    async def _do_for_user(
        self,
        body: Body,
        command_for: Callable[[Body], Command[SessionResult]],
        describe: Callable[[SessionResult], str],
    ) -> None:
        url = response_url_in(body)
        try:
            actor = await self._members.actor_of(body)
            handle = await self._acting.enqueue(by(actor, command_for(body)))
        except MayNotAct:
            self._acting.refuse(body, url)
        except ThreadsyncError as exc:
            self._acting.tell(url, exc, user_of(body))
        else:
            self._follow_ups.of_user(handle, url, describe, user_of(body))

    def _refuse_here(self, body: Body, command: GetOrCreate) -> None:
        """Tell who mentioned us, and may not act in this channel."""
        if body["event"].get("type") == "app_mention" and self._members.is_to_be_told(body):
            self._follow_ups.tell_privately(
                command.channel_id, command.user_id, command.thread_ts, replies.MAY_NOT_ACT_HERE
            )
