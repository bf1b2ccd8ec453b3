"""Respond to ``/ticket …`` within Slack's time limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from handlers import replies
from handlers.channel_config import ChannelConfig
from handlers.mapping import by
from handlers.ticket_command import TicketRequest, parse_ticket_command
from threadsync import AsyncSessionClient
from threadsync.actors import SlackActor
from threadsync.channel_settings.parsing import ConfigRequest
from threadsync.errors import InvalidCommand, ResultTimeout, ThreadsyncError
from threadsync.handles import AsyncHandle
from threadsync.lookup_commands import LinkAnswer, LinkLookup
from threadsync.sessions import SessionResult, ThreadSession
from threadsync.types import Status

R = TypeVar("R")

REPLY_SECONDS: Final = 2.4
"""Time for a reply; Slack shows the user an error after 3 s."""

_RESULT_SECONDS: Final = 1.5
_CONFIG_SECONDS: Final = 2.0
_LISTED: Final = 10


@dataclass(frozen=True)
class Reply:
    """The text for now, and the handle of a result that was not there in time.

    ``asked`` is a lookup in Jira, whose result comes before the session's. ``later`` are sentences that were
    not there in time.
    """

    text: str
    request: TicketRequest | None = None
    pending: AsyncHandle[SessionResult] | None = None
    asked: AsyncHandle[LinkAnswer] | None = None
    later: asyncio.Task[str] | None = None


class _Budget:
    """The time for results, shared by all commands of one response."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    async def result(self, handle: AsyncHandle[R]) -> R:
        return await handle.get(timeout=max(0, self._deadline - time.monotonic()))


async def reply_to_ticket_command(
    client: AsyncSessionClient,
    form: Mapping[str, Any],
    jira_url: str | None = None,
    actor: SlackActor | None = None,
    sent_at: str | None = None,
    config: ChannelConfig | None = None,
) -> Reply:
    """Respond within ``REPLY_SECONDS``; our own errors become sentences.

    Args:
        jira_url: the Jira whose tickets may be linked by URL; any if None.
        sent_at: when Slack sent the form, as it signed it; now if None.
        config: changes channels' settings; one that asks no Jira if None.
    """
    try:
        request = parse_ticket_command(form, jira_url)
    except InvalidCommand as exc:
        return Reply(str(exc))
    if request is None:
        return Reply(replies.HELP)
    if request.config:
        return await _configure(config or ChannelConfig(client), request, request.config, actor)
    workspace = str(form.get("team_domain", ""))
    try:
        async with asyncio.timeout(REPLY_SECONDS):
            if request.action == "status":
                return Reply(await _status(client, request, workspace))
            return await _change(client, request, workspace, actor, sent_at or f"{time.time():.6f}")
    # First: a ResultTimeout is a TimeoutError too.
    except ResultTimeout:
        return Reply(replies.NOTHING_CHANGED_YET)
    except ThreadsyncError as exc:
        return Reply(replies.describe_error(exc))
    except TimeoutError:
        return Reply(replies.TRY_AGAIN)


async def _configure(
    config: ChannelConfig, request: TicketRequest, wanted: ConfigRequest, actor: SlackActor | None
) -> Reply:
    """Show or change the channel's settings; what takes longer, as Jira is asked, is told afterwards."""
    work = asyncio.create_task(config.answer(request.channel_id, wanted, actor, request.act_id))
    await asyncio.wait({work}, timeout=_CONFIG_SECONDS)
    return Reply(work.result()) if work.done() else Reply(replies.CHECKING, later=work)


async def _status(client: AsyncSessionClient, request: TicketRequest, workspace: str) -> str:
    budget = _Budget(_RESULT_SECONDS)
    if request.thread_ts:
        session = await client.get(request.channel_id, request.thread_ts)
        return replies.describe_session(await budget.result(session))
    page = await budget.result(await client.list_by_channel(request.channel_id, limit=_LISTED))
    sessions = _as_slack_has_them(page.sessions, request.channel_id)
    return replies.list_sessions(sessions, workspace, more=page.next_cursor is not None)


async def _change(
    client: AsyncSessionClient,
    request: TicketRequest,
    workspace: str,
    actor: SlackActor | None,
    sent_at: str,
) -> Reply:
    budget = _Budget(_RESULT_SECONDS)
    thread_ts = request.thread_ts
    if thread_ts is None:
        found = await _sessions_that_fit(client, request, budget)
        if not found:
            return Reply(replies.none_fits(request))
        if len(found) > 1:
            return Reply(replies.ask_which(request, found, workspace))
        thread_ts = found[0].thread_ts
    if request.action == "ready":
        handle = await client.enqueue(by(actor, request.ready(thread_ts)))
    elif actor is None:
        return Reply(replies.NO_ACTOR)
    elif request.action == "link":
        return await _link(client, request.link(thread_ts, actor), request, budget)
    else:
        key = request.jira_key or await _key_of(client, request, thread_ts, budget)
        if key is None:
            return Reply(replies.NO_TICKET)
        handle = await client.enqueue(request.unlink(thread_ts, key, actor, sent_at))
    try:
        return Reply(replies.describe_change(request, await budget.result(handle)))
    except ResultTimeout:
        return Reply(replies.QUEUED, request, handle)


async def _link(
    client: AsyncSessionClient, question: LinkLookup, request: TicketRequest, budget: _Budget
) -> Reply:
    """Ask Jira by a lookup: only workers have its login."""
    asked = await client.enqueue(question)
    try:
        known = await budget.result(asked)
    except ResultTimeout:
        return Reply(replies.ASKING_JIRA, request, asked=asked)
    if known.outcome != "sent":
        return Reply(replies.describe_lookup(known))
    linked = client.linked(asked)
    try:
        return Reply(replies.describe_link(await budget.result(linked)))
    except ResultTimeout:
        return Reply(replies.QUEUED, request, linked)


async def _key_of(
    client: AsyncSessionClient, request: TicketRequest, thread_ts: str, budget: _Budget
) -> str | None:
    session = await budget.result(await client.get(request.channel_id, thread_ts))
    return session.jira_key if session else None


def _as_slack_has_them(sessions: Sequence[ThreadSession], channel_id: str) -> list[ThreadSession]:
    """Give sessions the channel's current id, for links: old ids lead nowhere."""
    return [session.model_copy(update={"channel_id": channel_id}) for session in sessions]


async def _sessions_that_fit(
    client: AsyncSessionClient, request: TicketRequest, budget: _Budget
) -> list[ThreadSession]:
    """Find the channel's newest sessions that the command could change."""

    async def page(status: Status) -> tuple[ThreadSession, ...]:
        listing = await client.list_by_channel(request.channel_id, status, limit=_LISTED)
        return (await budget.result(listing)).sessions

    pages = await asyncio.gather(*(page(status) for status in request.applies_to))
    fitting = [session for sessions in pages for session in sessions if _fits(session, request)]
    found = _as_slack_has_them(fitting, request.channel_id)
    return sorted(found, key=lambda session: session.id, reverse=True)[:_LISTED]


def _fits(session: ThreadSession, request: TicketRequest) -> bool:
    """Return True if the session has the ticket to unlink, or no ticket is named."""
    return request.action != "unlink" or request.jira_key in (None, session.jira_key)
