"""Tell users the results of their commands, after the response to Slack."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final
from uuid import UUID
from weakref import WeakValueDictionary

import structlog

from handlers import replies
from handlers.background import Background
from handlers.slack_api import Posting, SlackApi
from threadsync import AsyncSessionClient
from threadsync.errors import EnqueueFailed, ResultTimeout, ThreadsyncError, UnreadableResult
from threadsync.handles import AsyncHandle
from threadsync.lookup_commands import LinkAnswer
from threadsync.reply_commands import REPLY_EVENT_TYPE, SayReply
from threadsync.sessions import SessionResult
from worker.text.slack_names import metadata_of

log = structlog.get_logger(__name__)

Handle = AsyncHandle[SessionResult]

_EVENT_SECONDS: Final = 20
"""Wait for an event's result, longer than a command takes when a killed worker's message is redelivered."""

_USER_SECONDS: Final = 45
"""Wait for a user's result, longer than a command waits for its session."""

_JIRA_SECONDS: Final = 28
"""Wait for a lookup, which waits for a worker up to 10 s, and for Jira up to 15 s."""

_EVENTS_AT_ONCE: Final = 32
_EVENTS_AT_ONCE_OF_ONE: Final = 16
"""Most events of one user at once, so that others' events do not wait behind a flood."""

_TOLD_EVERY_SECONDS: Final = 60.0

_MOST_PARKED: Final = 500
"""Most replies to keep that Slack does not accept now; they must not use up the background's places."""

_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
_REPLY_PATIENCE_SECONDS: Final = 86_400
"""Time for which a thread's first reply is tried while Slack accepts none."""


class FollowUps:
    """Wait for results in the background. A process that ends drops them; ``/ticket status`` still tells.

    A reply that Slack did not accept is in the broker by then, if a worker has a token.
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
        # Each wait polls ten times a second; a burst of events must not delay users' clicks.
        self._events = asyncio.Semaphore(_EVENTS_AT_ONCE)
        self._events_of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._told_at: dict[str, float] = {}
        self._parked = 0

    def expect_event(self, user: str) -> None:
        """Raise ``EnqueueFailed`` if an event of this user would have no follow-up: Slack sends it again.

        Call it before the command is sent: only the event that opens the session causes the reply.
        """
        if not self._background.has_place("events", user):
            raise EnqueueFailed("too many events of one user wait for their replies")

    def of_event(self, handle: Handle, user: str = "", on_refusal: Callable[[], None] = lambda: None) -> None:
        """Reply in the thread if the event's command created its session; call ``on_refusal`` if refused."""
        what = "follow-up of an event"
        if not self._background.start(self._follow_event(handle, user, on_refusal), what, "events", user):
            # Other events took the last places meanwhile.
            self._background.start(self._follow_event(handle, user, on_refusal), what)

    def of_user(
        self, handle: Handle, url: str, describe: Callable[[SessionResult], str], user: str = ""
    ) -> None:
        """Reply in the thread as for an event, and tell the user the result."""
        self._begin(self._follow_user(handle, url, describe), "follow-up of a user", url, user)

    def of_refusal(self, handle: AsyncHandle[Any], url: str, user: str = "") -> None:
        """Tell the user if the command is refused; success shows elsewhere."""
        self._begin(self._follow_refusal(handle, url), "follow-up of a user", url, user)

    def of_link(self, asked: AsyncHandle[LinkAnswer], url: str, user: str = "") -> None:
        """Tell the user the result of a lookup, and of linking the ticket."""
        self._begin(self._follow_link(asked, url), "follow-up of a user", url, user)

    def of_text(self, later: Awaitable[str], url: str, user: str = "") -> None:
        """Tell the user sentences once they are there."""
        self._begin(self._follow_text(later, url), "follow-up of a user", url, user)

    def open_form(self, opening: Callable[[], Awaitable[bool]], url: str, user: str = "") -> None:
        """Open a form for the user, or say that it could not be opened.

        Args:
            opening: opens the form; False if Slack does not open it.
        """
        self._begin(self._open_form(opening, url), "form", url, user)

    def change_form(self, change: Coroutine[Any, Any, None], user: str = "") -> None:
        """Make an open form anew; without a place for that it stays as it is."""
        self._background.start(change, "form", "clicks", user)

    def tell(self, url: str, text: str, user: str = "") -> None:
        """Tell the user a sentence that needs no result."""
        self._begin(self._respond(url, text), "answer to a user", url, user)

    def tell_privately(self, channel_id: str, user_id: str, thread_ts: str, text: str) -> None:
        """Tell a user a sentence in a channel, unseen by others."""
        call = self._slack.tell_privately(channel_id, user_id, thread_ts, text)
        self._background.start(call, "answer to a user", "clicks", user_id)

    def _begin(self, work: Coroutine[Any, Any, None], what: str, url: str, user: str) -> None:
        """Start work that a user waits for; tell a user with too much of it so, once a minute.

        Raises ``EnqueueFailed`` if not even that is possible: then Slack shows the user an error.
        """
        if self._background.start(work, what, "clicks", user) or self._was_told(user):
            return
        if not self._background.start(self._respond(url, replies.TOO_MUCH), "notice", "notices", user):
            raise EnqueueFailed("too many users wait for answers")
        self._told_at[user] = time.monotonic()

    def _was_told(self, user: str) -> bool:
        since = time.monotonic() - _TOLD_EVERY_SECONDS
        # Few at any time: users who had too much within the last minute.
        self._told_at = {name: at for name, at in self._told_at.items() if at > since}
        return user in self._told_at

    def _limit_of(self, user: str) -> asyncio.Semaphore:
        limit = self._events_of.get(user)
        if limit is None:
            limit = self._events_of[user] = asyncio.Semaphore(_EVENTS_AT_ONCE_OF_ONE)
        return limit

    async def _follow_event(self, handle: Handle, user: str, on_refusal: Callable[[], None]) -> None:
        async with self._limit_of(user), self._events:
            try:
                session = await handle.get(timeout=_EVENT_SECONDS)
            except ThreadsyncError as exc:
                log.warning("no result", task_id=handle.task_id, error_type=type(exc).__name__)
                return
            await self._reply_if_created(handle, session)
            if session.outcome == "refused":
                on_refusal()

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
            result = await handle.get(timeout=_USER_SECONDS)
        except ThreadsyncError as exc:
            log.warning("no result", task_id=handle.task_id, error_type=type(exc).__name__)
            await self._respond(url, replies.describe_error(exc))
        else:
            if getattr(result, "is_refused", False):
                await self._respond(url, replies.MAY_NOT_ACT_HERE)

    async def _follow_text(self, later: Awaitable[str], url: str) -> None:
        await self._respond(url, await later)

    async def _follow_link(self, asked: AsyncHandle[LinkAnswer], url: str) -> None:
        try:
            known = await asked.get(timeout=_JIRA_SECONDS)
        except ThreadsyncError as exc:
            log.warning("no result", task_id=asked.task_id, error_type=type(exc).__name__)
            await self._respond(url, replies.NOT_ASKED)
            return
        if known.outcome == "sent":
            await self._follow_user(self._client.linked(asked), url, replies.describe_link)
        else:
            await self._respond(url, replies.describe_lookup(known))

    async def _open_form(self, opening: Callable[[], Awaitable[bool]], url: str) -> None:
        if not await opening():
            await self._respond(url, replies.FORM_NOT_OPENED)

    async def _reply_if_created(self, handle: Handle, session: SessionResult) -> None:
        """Reply if the session is new; a redelivered or duplicate event stays silent."""
        if session.outcome == "created":
            await self._say(_opening(handle, session, makes_tickets=self._makes_tickets))

    async def _say(self, reply: SayReply) -> None:
        """Post the reply, or pass it to a worker if Slack does not accept it: it must not be lost."""
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
        """Leave the reply to a worker with a token; return False if no worker has one."""
        command = reply.model_copy(update={"maybe_said": posting == "perhaps"})
        try:
            handle = await self._client.enqueue(command)
            return await handle.get(timeout=_EVENT_SECONDS) != "no token"
        except (ResultTimeout, UnreadableResult):
            # The command is in the broker, whatever its result.
            return True
        except ThreadsyncError as exc:
            # The broker is away, or the workers are older.
            log.warning("reply not passed on", error_type=type(exc).__name__)
            return False

    async def _say_later(self, reply: SayReply) -> None:
        """Retry the reply here: the next event finds the session, and causes none."""
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
        # The channel's current id; the session's may be an older one.
        channel_id=getattr(handle.command, "channel_id", session.channel_id),
        thread_ts=session.thread_ts,
        text=replies.opened(makes_tickets=makes_tickets),
        blocks=replies.opened_blocks(session.thread_ts, makes_tickets=makes_tickets),
        since=time.time(),
    )
