"""Handle the payloads of the form: the buttons that open it, changes in it, and its submission."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltRequest

from handlers import replies
from handlers.acting import Acting
from handlers.form.flow import FormFlow
from handlers.form.submission import change_in, submission_in
from handlers.mapping import CREATE_BUTTON, by
from handlers.members import MayNotAct
from handlers.requests import response_url_in, sent_at, trigger_in, user_of
from handlers.ticket_form import (
    ISSUE_TYPE,
    PROJECT,
    SUMMARY,
    TICKET_FORM,
    about_click,
    about_fix,
    response_url_of,
)
from threadsync.actors import SlackActor
from threadsync.errors import ThreadsyncError
from worker.text.slack_names import FIX_BUTTON

log = structlog.get_logger(__name__)

Body = dict[str, Any]


class FormListeners:
    """Bolt's listeners of the form. Slack repeats none of these: a person presses the button again."""

    def __init__(self, acting: Acting, form: FormFlow) -> None:
        self._acting = acting
        self._form = form

    def register(self, app: AsyncApp) -> None:
        """Attach every listener."""
        app.action({"type": "block_actions", "action_id": CREATE_BUTTON})(self.on_create_button)
        app.action({"type": "block_actions", "action_id": FIX_BUTTON})(self.on_fix_button)
        app.action({"type": "block_actions", "action_id": PROJECT})(self.on_change)
        app.action({"type": "block_actions", "action_id": ISSUE_TYPE})(self.on_change)
        app.view({"type": "view_submission", "callback_id": TICKET_FORM})(self.on_submission)

    async def on_create_button(self, ack: AsyncAck, body: Body) -> None:
        """Handle the button below our reply where tickets are created: open the form."""
        await ack()
        url = response_url_in(body)
        try:
            await self._acting.members.actor_of(body)
            about = about_click(body)
        except MayNotAct:
            self._acting.refuse(body, url)
        except ThreadsyncError as exc:
            self._acting.tell(url, exc, user_of(body))
        else:
            opening = partial(self._form.open, trigger_in(body), about)
            self._acting.follow_ups.open_form(opening, url, user_of(body))

    async def on_fix_button(self, ack: AsyncAck, body: Body) -> None:
        """Handle a status message's fix button: open the form, with the draft for the person who wrote it."""
        await ack()
        url = response_url_in(body)
        try:
            actor = await self._acting.members.actor_of(body)
            about = about_fix(body)
        except MayNotAct:
            self._acting.refuse(body, url)
        except ThreadsyncError as exc:
            self._acting.tell(url, exc, user_of(body))
        else:
            opening = partial(self._form.fix, trigger_in(body), about, actor)
            self._acting.follow_ups.open_form(opening, url, user_of(body))

    async def on_change(self, ack: AsyncAck, body: Body) -> None:
        """Handle another project or issue type in an open form: make the fields below anew."""
        await ack()
        change = change_in(body)
        if change is None:
            return
        try:
            await self._acting.members.actor_of(body)
        except MayNotAct:
            # The form itself was opened by one who may; submitting it says so.
            return
        self._acting.follow_ups.change_form(self._form.change(change), user_of(body))

    async def on_submission(self, ack: AsyncAck, body: Body, request: AsyncBoltRequest) -> None:
        """Handle the submitted form: request the ticket, or keep the form open with its faults."""
        try:
            actor = await self._acting.members.actor_of(body)
            faults = await self._request_ticket(body, actor, sent_at(request))
        except MayNotAct:
            # In the form itself: a form that closes means that the ticket is on its way.
            faults = {SUMMARY: replies.MAY_NOT_ACT}
        await (ack(response_action="errors", errors=dict(faults)) if faults else ack())

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
            handle = await self._acting.enqueue(by(actor, submission.command(written.values, drafted_at)))
        except ThreadsyncError as exc:
            log.warning("command not enqueued", error_type=type(exc).__name__)
            return {SUMMARY: replies.describe_error(exc)}
        self._acting.follow_ups.of_user(
            handle, response_url_of(body), replies.describe_request, user_of(body)
        )
        return {}
