"""Handle each kind of Slack payload: enqueue its command, and tell the user the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltRequest

from handlers import replies
from handlers.channel_config import ChannelConfig
from handlers.event_ids import EventIds
from handlers.follow_ups import FollowUps
from handlers.form.flow import FormFlow
from handlers.form.submission import change_in, submission_in
from handlers.mapping import (
    CREATE_BUTTON,
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
from handlers.members import MayNotAct, Members
from handlers.payload import object_in
from handlers.ticket_command import SLASH_COMMAND
from handlers.ticket_form import (
    ISSUE_TYPE,
    PROJECT,
    SUMMARY,
    TICKET_FORM,
    about_click,
    about_fix,
    response_url_of,
)
from handlers.ticket_reply import reply_to_ticket_command
from threadsync import AsyncSessionClient
from threadsync.actors import SlackActor
from threadsync.command import Command
from threadsync.commands import GetOrCreate
from threadsync.errors import InvalidCommand, ThreadsyncError
from threadsync.handles import AsyncHandle
from threadsync.sessions import SessionResult
from worker.text.slack_names import FIX_BUTTON, RETRY_BUTTON

log = structlog.get_logger(__name__)

Body = dict[str, Any]
R = TypeVar("R")

_LOGGED: Final = ("channel_id", "new_channel_id", "thread_ts", "user_id", "status", "session_id", "actor")
"""Arguments without text written by users."""

RECEIVED_AT: Final = "x-threadsync-received-at"
"""A header of Socket Mode's requests; over HTTP the signed timestamp is used."""

_LONGEST_USER: Final = 64


class Listeners:
    """Bolt's listeners; each enqueues, and does nothing else that must last.

    An event whose command was not enqueued raises, so that Slack delivers it again. Slack repeats nothing
    that a user clicked or typed: there the user is asked to try again.
    """

    def __init__(
        self,
        client: AsyncSessionClient,
        follow_ups: FollowUps,
        members: Members,
        form: FormFlow,
        jira_url: str | None = None,
        config: ChannelConfig | None = None,
    ) -> None:
        self._config = config
        self._client = client
        self._follow_ups = follow_ups
        self._members = members
        self._form = form
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
        app.action({"type": "block_actions", "action_id": CREATE_BUTTON})(self.on_create_button)
        app.action({"type": "block_actions", "action_id": RETRY_BUTTON})(self.on_retry_button)
        app.action({"type": "block_actions", "action_id": FIX_BUTTON})(self.on_fix_button)
        app.action({"type": "block_actions", "action_id": PROJECT})(self.on_form_change)
        app.action({"type": "block_actions", "action_id": ISSUE_TYPE})(self.on_form_change)
        app.view({"type": "view_submission", "callback_id": TICKET_FORM})(self.on_form)

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
        task_id = self._event_ids.task_id(body.get("event_id"), _retries(request))
        handle = await self._enqueue(by(actor, command), task_id)
        self._follow_ups.of_event(handle, command.user_id, partial(self._refuse_here, body, command))

    async def on_move(self, body: Body, request: AsyncBoltRequest) -> None:
        """Handle a channel's new id. Both ids lead to its sessions afterwards."""
        try:
            command = command_for_move(body["event"])
        except InvalidCommand as exc:
            log.warning("event ignored", reason=str(exc))
            return
        if command is not None:
            await self._enqueue(command, self._event_ids.task_id(body.get("event_id"), _retries(request)))

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
            self._client, body, self._jira_url, actor, _sent_at(request), self._config
        )
        if answer.pending and answer.request:
            describe = partial(replies.describe_change, answer.request)
            self._follow_ups.of_user(answer.pending, _response_url(body), describe, _user_of(body))
        if answer.asked:
            self._follow_ups.of_link(answer.asked, _response_url(body), _user_of(body))
        if answer.later:
            self._follow_ups.of_text(answer.later, _response_url(body), _user_of(body))
        await ack(text=answer.text, response_type="ephemeral")

    async def on_shortcut(self, ack: AsyncAck, body: Body) -> None:
        """Handle the message shortcut: as a mention, and tell the user."""
        await ack()
        await self._do_for_user(body, command_for_shortcut, replies.describe_opening)

    async def on_button(self, ack: AsyncAck, body: Body) -> None:
        """Handle the button below our reply: the thread is ready."""
        await ack()
        await self._do_for_user(body, command_for_button, replies.describe_ready)

    async def on_create_button(self, ack: AsyncAck, body: Body) -> None:
        """Handle the button below our reply where tickets are created: open the form."""
        await ack()
        url = _response_url(body)
        if not await self._may_act(body, url):
            return
        try:
            about = about_click(body)
        except ThreadsyncError as exc:
            self._tell(url, exc, _user_of(body))
        else:
            self._follow_ups.open_form(partial(self._form.open, _trigger(body), about), url, _user_of(body))

    async def on_fix_button(self, ack: AsyncAck, body: Body) -> None:
        """Handle a status message's fix button: open the form, with the draft for the person who wrote it."""
        await ack()
        url = _response_url(body)
        try:
            actor = await self._members.actor_of(body)
            about = about_fix(body)
        except MayNotAct:
            self._refuse(body, url)
        except ThreadsyncError as exc:
            self._tell(url, exc, _user_of(body))
        else:
            opening = partial(self._form.fix, _trigger(body), about, actor)
            self._follow_ups.open_form(opening, url, _user_of(body))

    async def on_form_change(self, ack: AsyncAck, body: Body) -> None:
        """Handle another project or issue type in an open form: make the fields below anew."""
        await ack()
        change = change_in(body)
        if change is None:
            return
        try:
            await self._members.actor_of(body)
        except MayNotAct:
            # The form itself was opened by one who may; submitting it says so.
            return
        self._follow_ups.change_form(self._form.change(change), _user_of(body))

    async def on_form(self, ack: AsyncAck, body: Body, request: AsyncBoltRequest) -> None:
        """Handle the submitted form: request the ticket, or keep the form open with its faults."""
        try:
            actor = await self._members.actor_of(body)
            faults = await self._request_ticket(body, actor, _sent_at(request))
        except MayNotAct:
            # In the form itself: a form that closes means that the ticket is on its way.
            faults = {SUMMARY: replies.MAY_NOT_ACT}
        await (ack(response_action="errors", errors=dict(faults)) if faults else ack())

    async def on_retry_button(self, ack: AsyncAck, body: Body) -> None:
        """Handle a status message's retry button. The message shows the result; tell the user a refusal."""
        await ack()
        url = _response_url(body)
        try:
            actor = await self._members.actor_of(body)
            handle = await self._enqueue(by(actor, command_for_retry(body)))
        except MayNotAct:
            self._refuse(body, url)
        except ThreadsyncError as exc:
            self._tell(url, exc, _user_of(body))
        else:
            self._follow_ups.of_refusal(handle, url, _user_of(body))

    async def _request_ticket(
        self, body: Body, actor: SlackActor | None, drafted_at: str
    ) -> Mapping[str, str]:
        """Request the ticket; return faults as sentences, by input."""
        submission = submission_in(body)
        written = await self._form.check(submission, actor)
        if written.faults:
            log.info("form not taken", inputs=len(written.faults))
            return written.faults
        try:
            handle = await self._enqueue(by(actor, submission.command(written.values, drafted_at)))
        except ThreadsyncError as exc:
            log.warning("command not enqueued", error_type=type(exc).__name__)
            return {SUMMARY: replies.describe_error(exc)}
        self._follow_ups.of_user(handle, response_url_of(body), replies.describe_request, _user_of(body))
        return {}

    async def _do_for_user(
        self,
        body: Body,
        command_for: Callable[[Body], Command[SessionResult]],
        describe: Callable[[SessionResult], str],
    ) -> None:
        url = _response_url(body)
        try:
            actor = await self._members.actor_of(body)
            handle = await self._enqueue(by(actor, command_for(body)))
        except MayNotAct:
            self._refuse(body, url)
        except ThreadsyncError as exc:
            self._tell(url, exc, _user_of(body))
        else:
            self._follow_ups.of_user(handle, url, describe, _user_of(body))

    async def _may_act(self, body: Body, url: str) -> bool:
        """Return True if the person may act; else tell the person so."""
        try:
            await self._members.actor_of(body)
        except MayNotAct:
            self._refuse(body, url)
            return False
        return True

    def _refuse_here(self, body: Body, command: GetOrCreate) -> None:
        """Tell who mentioned us, and may not act in this channel."""
        if body["event"].get("type") == "app_mention" and self._members.is_to_be_told(body):
            self._follow_ups.tell_privately(
                command.channel_id, command.user_id, command.thread_ts, replies.MAY_NOT_ACT_HERE
            )

    def _refuse(self, body: Body, url: str) -> None:
        if self._members.is_to_be_told(body):
            self._follow_ups.tell(url, replies.MAY_NOT_ACT, _user_of(body))

    def _tell(self, url: str, error: ThreadsyncError, user: str = "") -> None:
        log.warning("command not enqueued", error_type=type(error).__name__, reason=str(error))
        self._follow_ups.tell(url, replies.describe_error(error), user)

    async def _enqueue(self, command: Command[R], task_id: str | None = None) -> AsyncHandle[R]:
        handle = await self._client.enqueue(command, task_id=task_id)
        arguments = {name: value for name, value in command.arguments().items() if name in _LOGGED}
        if isinstance(actor := arguments.get("actor"), dict):
            arguments["actor"] = {name: value for name, value in actor.items() if name != "groups"}
        log.info("command enqueued", command=command.name, task_id=handle.task_id, **arguments)
        return handle


def _retries(request: AsyncBoltRequest) -> str:
    """Return the number of earlier deliveries of the event; empty for the first."""
    return next(iter(request.headers.get("x-slack-retry-num", ())), "")


def _sent_at(request: AsyncBoltRequest) -> str:
    """Return the time of a payload: the signed one, or in Socket Mode the time of receipt.

    The same bytes may come again within five minutes, and must not count as newer.
    """
    signed = next(iter(request.headers.get("x-slack-request-timestamp", ())), "")
    if signed.isascii() and signed.isdecimal():
        return f"{int(signed)}.000000"
    return next(iter(request.headers.get(RECEIVED_AT, ())), "") or f"{time.time():.6f}"


def _user_of(body: Body) -> str:
    """Return the id of the user; empty if the payload names none."""
    return str(object_in(body, "user").get("id") or body.get("user_id") or "")[:_LONGEST_USER]


def _trigger(body: Body) -> str:
    return str(body.get("trigger_id") or "")


def _response_url(body: Body) -> str:
    return str(body.get("response_url") or "")
