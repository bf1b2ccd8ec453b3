"""What users hear after Slack has its answer: how their command ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import structlog

from handlers import replies
from handlers.background import Background
from handlers.slack_api import Posting, SlackApi
from tasks.client import AsyncHandle, AsyncSessionClient
from tasks.reply_commands import REPLY_EVENT_TYPE, SayReply
from worker.db.models import SessionResult
from worker.errors import ResultTimeout, ThreadsyncError
from worker.slack_status.message import metadata_of

log = structlog.get_logger(__name__)

Handle = AsyncHandle[SessionResult]

_EVENT_SECONDS: Final = 20
"""Longer than a command takes that is redelivered because its worker was killed."""

_USER_SECONDS: Final = 45
"""Longer than a command waits for its session, so that the user hears how that ended."""

_EVENTS_AT_ONCE: Final = 32

_MOST_PARKED: Final = 500
"""Replies that Slack does not take now; they must not use up what background work there may be."""

_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
_REPLY_PATIENCE_SECONDS: Final = 86_400
"""For the first reply in a thread, while Slack takes none of ours."""


class FollowUps:
    """Waits for results in the background. A process that ends drops them; ``/ticket status`` does not.

    What it had to say and Slack did not take lies in the broker by then, where a worker has a token.
    """

    def __init__(
        self,
        slack: SlackApi,
        background: Background,
        client: AsyncSessionClient,
        *,
        makes_tickets: bool = False,
    ) -> None:
        self._slack = slack
        self._client = client
        self._background = background
        self._makes_tickets = makes_tickets
        # Each wait looks ten times a second; a burst of events must not leave users' clicks without a turn.
        self._event_turns = asyncio.Semaphore(_EVENTS_AT_ONCE)
        self._parked = 0

    def of_event(self, handle: Handle) -> None:
        """Reply in the thread if the event's command created its session."""
        self._background.start(self._follow_event(handle), "follow-up of an event")

    def of_user(self, handle: Handle, url: str, describe: Callable[[SessionResult], str]) -> None:
        """The same, and tell the user who clicked or typed, when there is a response URL."""
        self._background.start(self._follow_user(handle, url, describe), "follow-up of a user")

    def of_refusal(self, handle: AsyncHandle[Any], url: str) -> None:
        """Tell the user if the command is refused; what it does otherwise is seen elsewhere."""
        self._background.start(self._follow_refusal(handle, url), "follow-up of a user")

    def open_form(self, trigger_id: str, view: dict[str, Any], url: str) -> None:
        """Open a form for the user, or say that it could not be opened."""
        self._background.start(self._open_form(trigger_id, view, url), "form")

    def tell(self, url: str, text: str) -> None:
        """Tell the user something that needs no result."""
        self._background.start(self._respond(url, text), "answer to a user")

    async def _follow_event(self, handle: Handle) -> None:
        async with self._event_turns:
            try:
                await self._reply_if_created(handle, await handle.get(timeout=_EVENT_SECONDS))
            except ThreadsyncError as exc:
                log.warning("no result", task_id=handle.task_id, error_type=type(exc).__name__)

    async def _follow_user(self, handle: Handle, url: str, describe: Callable[[SessionResult], str]) -> None:
        try:
            session = await handle.get(timeout=_USER_SECONDS)
        except ThreadsyncError as exc:
            log.warning("no result", task_id=handle.task_id, error_type=type(exc).__name__)
            await self._respond(url, replies.describe_error(exc))
        else:
            await self._reply_if_created(handle, session)
            await self._respond(url, describe(session))

    async def _follow_refusal(self, handle: AsyncHandle[Any], url: str) -> None:
        try:
            await handle.get(timeout=_USER_SECONDS)
        except ThreadsyncError as exc:
            log.warning("no result", task_id=handle.task_id, error_type=type(exc).__name__)
            await self._respond(url, replies.describe_error(exc))

    async def _open_form(self, trigger_id: str, view: dict[str, Any], url: str) -> None:
        if not await self._slack.open_view(trigger_id, view):
            await self._respond(url, replies.FORM_NOT_OPENED)

    async def _reply_if_created(self, handle: Handle, session: SessionResult) -> None:
        """A redelivered or doubled event finds the session there, and stays silent."""
        if session.outcome == "created":
            await self._say(_opening(handle, session, makes_tickets=self._makes_tickets))

    async def _say(self, reply: SayReply) -> None:
        """Post the reply. What Slack does not take now is a worker's, as it must outlive this process."""
        posting = await self._post(reply)
        if posting == "ended" or await self._pass_on(reply, posting):
            return
        fields = {"channel_id": reply.channel_id, "thread_ts": reply.thread_ts}
        if posting == "perhaps":
            log.warning("reply perhaps not posted", **fields)
        elif self._parked >= _MOST_PARKED:
            log.warning("reply not posted: too many wait", **fields)
        else:
            self._background.start(self._say_later(reply), "reply that Slack did not take")

    async def _post(self, reply: SayReply) -> Posting:
        metadata = metadata_of(UUID(str(reply.session_id)), REPLY_EVENT_TYPE)
        return await self._slack.post_in_thread(
            reply.channel_id, reply.thread_ts, reply.text, reply.blocks, metadata
        )

    async def _pass_on(self, reply: SayReply, posting: Posting) -> bool:
        """Leave it to a worker that has a token; False when none is known to have it."""
        command = reply.model_copy(update={"maybe_said": posting == "perhaps"})
        try:
            handle = await self._client.enqueue(command)
            return await handle.get(timeout=_EVENT_SECONDS) != "no token"
        except ResultTimeout:
            return True
        except ThreadsyncError as exc:
            # The broker is away, or the workers are of an older version.
            log.warning("reply not passed on", error_type=type(exc).__name__)
            return False

    async def _say_later(self, reply: SayReply) -> None:
        """Nothing else would ever say it: the next event finds the session there, and stays silent."""
        pause, waited = _FIRST_PAUSE_SECONDS, 0.0
        fields = {"channel_id": reply.channel_id, "thread_ts": reply.thread_ts}
        self._parked += 1
        try:
            while waited < _REPLY_PATIENCE_SECONDS:
                await asyncio.sleep(pause)
                waited += pause
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                if await self._post(reply) != "not posted":
                    return
        except asyncio.CancelledError:
            log.warning("reply not posted: the process ends", **fields)
            raise
        finally:
            self._parked -= 1
        log.warning("reply not posted: given up", **fields)

    async def _respond(self, url: str, text: str) -> None:
        if url:
            await self._slack.respond(url, text)


def _opening(handle: Handle, session: SessionResult, *, makes_tickets: bool) -> SayReply:
    return SayReply(
        session_id=session.id,
        # The id by which Slack has just called the channel; the session's may be an older one.
        channel_id=getattr(handle.command, "channel_id", session.channel_id),
        thread_ts=session.thread_ts,
        text=replies.opened(makes_tickets=makes_tickets),
        blocks=replies.opened_blocks(session.thread_ts, makes_tickets=makes_tickets),
        since=time.time(),
    )
