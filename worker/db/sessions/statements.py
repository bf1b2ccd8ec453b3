"""Commands as data: a statement is SQL, its parameters, and how to read its rows. No I/O, no driver.

Because a command is one statement, many can go down one pipeline; because it is pure, the sync and the
async store share it. Arguments are checked here, so that no caller of a store can write a bad row.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, LiteralString, ParamSpec, TypeVar
from uuid import UUID

from pydantic import ValidationError, validate_call

from threadsync.actors import Actor, AnyActor, as_json
from threadsync.channels import ChannelContext, ChannelMove, ContextResult
from threadsync.errors import InvalidCommand, JiraKeyConflict, SessionNotFound
from threadsync.sessions import SessionPage, SessionResult, ThreadSession
from threadsync.syncs import Draft
from threadsync.types import (
    AnyUuid,
    DraftedAt,
    JiraId,
    JiraKey,
    PageLimit,
    Reason,
    SlackId,
    SlackTs,
    Status,
    _as_uuid,
    describe,
)
from worker.db.sessions import sql as queries

T = TypeVar("T")
P = ParamSpec("P")
Rows = Sequence[Mapping[str, Any]]


_AFTER_ALL_IDS: Final = UUID(int=2**128 - 1)
_MAX_PATCH_BYTES: Final = 65_536
_MAX_PATCH_DEPTH: Final = 32


@dataclass(frozen=True, slots=True)
class Statement(Generic[T]):
    """One SQL statement, ready to run: ``read`` turns its rows into the result, or raises our error.

    ``row`` names the one row that it reads or writes: a channel, or a channel and a thread. None: it reads
    rows that it cannot name.
    """

    sql: LiteralString
    params: Mapping[str, Any]
    read: Callable[[Rows], T]
    row: tuple[str, ...] | None = None


def _checked(build: Callable[P, T]) -> Callable[P, T]:
    """Check the arguments against the annotations; ``InvalidCommand`` names each fault."""
    checked = validate_call(config={"strict": True, "hide_input_in_errors": True})(build)
    bind = inspect.signature(build).bind

    @functools.wraps(build)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        with suppress(ValidationError):
            return checked(*args, **kwargs)
        # Once more by name, which takes longer: a fault of `thread_ts` says so, and not `1`.
        named = bind(*args, **kwargs).arguments
        try:
            return checked(**named)  # type: ignore[call-arg]
        except ValidationError as exc:
            raise InvalidCommand(describe(exc)) from exc

    return wrapper


@_checked
def get_or_create_session(
    channel_id: SlackId, thread_ts: SlackTs, user_id: SlackId, actor: Actor | None = None
) -> Statement[SessionResult]:
    """Open the thread's session; an existing one is left as it is, ``user_id`` included."""
    return Statement(
        queries.GET_OR_CREATE_SESSION,
        {
            "channel_id": channel_id,
            "thread_ts": thread_ts,
            "user_id": user_id,
            "actor": as_json(actor),
        },
        lambda rows: SessionResult.model_validate(rows[0]),
        row=(channel_id, thread_ts),
    )


@_checked
def update_status(
    channel_id: SlackId, thread_ts: SlackTs, status: Status, actor: Actor | None = None
) -> Statement[SessionResult]:
    """Move the session forward. ``read`` raises ``SessionNotFound``."""
    if status == "synced":
        raise InvalidCommand("status: 'synced' is set by mark_synced, together with the ticket's key")

    def read(rows: Rows) -> SessionResult:
        if not rows:
            raise SessionNotFound(channel_id, thread_ts)
        return SessionResult.model_validate(rows[0])

    params = {
        "channel_id": channel_id,
        "thread_ts": thread_ts,
        "status": status,
        "actor": as_json(actor),
    }
    return Statement(queries.UPDATE_STATUS, params, read, row=(channel_id, thread_ts))


@_checked
def mark_synced(
    channel_id: SlackId, thread_ts: SlackTs, jira_key: JiraKey, actor: Actor | None = None
) -> Statement[SessionResult]:
    """Write the ticket's key, once. ``read`` raises ``SessionNotFound`` or ``JiraKeyConflict``."""

    def read(rows: Rows) -> SessionResult:
        if not rows:
            raise SessionNotFound(channel_id, thread_ts)
        if rows[0]["outcome"] == "conflict":
            raise JiraKeyConflict(channel_id, thread_ts, rows[0]["jira_key"], jira_key)
        return SessionResult.model_validate(rows[0])

    params = {
        "channel_id": channel_id,
        "thread_ts": thread_ts,
        "jira_key": jira_key,
        "actor": as_json(actor),
    }
    return Statement(queries.MARK_SYNCED, params, read, row=(channel_id, thread_ts))


@_checked
def request_sync(
    channel_id: SlackId,
    thread_ts: SlackTs,
    draft: Draft,
    drafted_at: DraftedAt,
    actor: Actor | None = None,
) -> Statement[SessionResult]:
    """Ask for the session's ticket. ``read`` raises ``SessionNotFound``."""

    def read(rows: Rows) -> SessionResult:
        if not rows:
            raise SessionNotFound(channel_id, thread_ts)
        return SessionResult.model_validate(rows[0])

    params = {
        "channel_id": channel_id,
        "thread_ts": thread_ts,
        "draft": draft.model_dump_json(exclude_none=True),
        "drafted_at": drafted_at,
        "actor": as_json(actor),
    }
    return Statement(queries.REQUEST_SYNC, params, read, row=(channel_id, thread_ts))


@_checked
def link(
    channel_id: SlackId,
    thread_ts: SlackTs,
    jira_key: JiraKey,
    actor: Actor,
    command_id: AnyUuid,
    reason: Reason | None = None,
    jira_id: JiraId | None = None,
) -> Statement[SessionResult]:
    """Give the session its ticket as a person says. ``read`` raises as that of ``mark_synced`` does."""
    act = _Act("link", channel_id, thread_ts, jira_key, actor, command_id, reason)
    return _statement_of(act, jira_id=jira_id)


@_checked
def unlink(
    channel_id: SlackId,
    thread_ts: SlackTs,
    jira_key: JiraKey,
    actor: Actor,
    reason: Reason,
    command_id: AnyUuid,
    unlinked_at: DraftedAt | None = None,
) -> Statement[SessionResult]:
    """Take the ticket off the session as a person says. ``read`` raises ``SessionNotFound``.

    A draft that is older than ``unlinked_at`` makes no other ticket; Postgres' time if None.
    """
    act = _Act("unlink", channel_id, thread_ts, jira_key, actor, command_id, reason)
    return _statement_of(act, asked_at=unlinked_at)


@dataclass(frozen=True, slots=True)
class _Act:
    """An act of a person on a session's ticket."""

    act: Literal["link", "unlink"]
    channel_id: str
    thread_ts: str
    jira_key: str
    actor: AnyActor
    command_id: UUID | str
    reason: str | None


def _statement_of(
    act: _Act, *, jira_id: str | None = None, asked_at: str | None = None
) -> Statement[SessionResult]:
    def read(rows: Rows) -> SessionResult:
        if not rows:
            raise SessionNotFound(act.channel_id, act.thread_ts)
        if rows[0]["outcome"] == "conflict":
            raise JiraKeyConflict(act.channel_id, act.thread_ts, rows[0]["key_before"], act.jira_key)
        return SessionResult.model_validate(rows[0])

    params = {
        "act": act.act,
        "channel_id": act.channel_id,
        "thread_ts": act.thread_ts,
        "jira_key": act.jira_key,
        "jira_id": jira_id,
        "command_id": act.command_id,
        "actor": as_json(act.actor),
        "reason": act.reason,
        "asked_at": asked_at,
    }
    return Statement(queries.ACT, params, read, row=(act.channel_id, act.thread_ts))


@_checked
def get_session(session_id: AnyUuid) -> Statement[ThreadSession | None]:
    """The session with this id, or None."""
    return Statement(queries.GET_SESSION, {"session_id": session_id}, _session_or_none)


@_checked
def get_session_by_thread(channel_id: SlackId, thread_ts: SlackTs) -> Statement[ThreadSession | None]:
    """The thread's session, or None."""
    params = {"channel_id": channel_id, "thread_ts": thread_ts}
    row = (channel_id, thread_ts)
    return Statement(queries.GET_SESSION_BY_THREAD, params, _session_or_none, row=row)


@_checked
def list_sessions_by_channel(
    channel_id: SlackId, status: Status | None = None, limit: PageLimit = 50, cursor: str | None = None
) -> Statement[SessionPage]:
    """A page of a channel's sessions, newest first; ``cursor`` is the ``next_cursor`` of the page before."""
    page = {"channel_id": channel_id, **_page(limit, cursor)}
    if status is None:
        return Statement(queries.LIST_SESSIONS_BY_CHANNEL, page, _read_page(limit))
    sql = queries.LIST_SESSIONS_BY_CHANNEL_AND_STATUS
    return Statement(sql, {**page, "status": status}, _read_page(limit))


@_checked
def list_sessions(
    status: Status | None = None, limit: PageLimit = 50, cursor: str | None = None
) -> Statement[SessionPage]:
    """A page of all sessions, newest first."""
    page = _page(limit, cursor)
    if status is None:
        return Statement(queries.LIST_SESSIONS, page, _read_page(limit))
    return Statement(queries.LIST_SESSIONS_BY_STATUS, {**page, "status": status}, _read_page(limit))


@_checked
def get_channel_context(channel_id: SlackId) -> Statement[ChannelContext | None]:
    """The channel's context, or None."""
    return Statement(
        queries.GET_CHANNEL_CONTEXT,
        {"channel_id": channel_id},
        lambda rows: ChannelContext.model_validate(rows[0]) if rows else None,
        row=(channel_id,),
    )


@_checked
def channel_moved(
    channel_id: SlackId, new_channel_id: SlackId, actor: Actor | None = None
) -> Statement[ChannelMove]:
    """Note that a channel got another id. It reads and writes rows of both, so it names none."""
    if channel_id == new_channel_id:
        raise InvalidCommand("new_channel_id: is the same as channel_id")
    return Statement(
        queries.CHANNEL_MOVED,
        {"channel_id": channel_id, "new_channel_id": new_channel_id, "actor": as_json(actor)},
        lambda rows: ChannelMove.model_validate(rows[0]),
    )


@_checked
def merge_channel_context(
    channel_id: SlackId, patch: Mapping[str, Any], command_id: AnyUuid, actor: Actor | None = None
) -> Statement[ContextResult]:
    """Apply an RFC 7396 merge patch; the same ``command_id`` twice applies once."""
    return Statement(
        queries.MERGE_CHANNEL_CONTEXT,
        {
            "channel_id": channel_id,
            "patch": encode_patch(patch),
            "command_id": command_id,
            "actor": as_json(actor),
        },
        lambda rows: ContextResult.model_validate(rows[0]),
        row=(channel_id,),
    )


def parse_cursor(cursor: str) -> UUID:
    """The position that a cursor stands for. Raises ``InvalidCommand``."""
    try:
        return _as_uuid(cursor)
    except ValueError:
        raise InvalidCommand("cursor: is not one that this method returned") from None


def encode_patch(patch: Mapping[str, Any]) -> str:
    """The patch as JSON that Postgres takes. Raises ``InvalidCommand``: size, depth, NUL, NaN, no JSON."""
    if _depth(patch) > _MAX_PATCH_DEPTH:
        raise InvalidCommand(f"patch: is nested deeper than {_MAX_PATCH_DEPTH} levels")
    try:
        text = json.dumps(patch, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidCommand(f"patch: is not a JSON object: {exc}") from exc
    if size > _MAX_PATCH_BYTES:
        raise InvalidCommand(f"patch: is {size} bytes of JSON; the limit is {_MAX_PATCH_BYTES}")
    if "\\u0000" in text.replace("\\\\", ""):
        raise InvalidCommand("patch: contains a NUL character")
    return text


def _depth(value: Any) -> int:
    """Objects and lists inside one another, counted without recursion: the value may be hostile."""
    depth, level = 0, [value]
    while depth <= _MAX_PATCH_DEPTH and (containers := [item for item in level if _is_container(item)]):
        depth += 1
        level = [inner for item in containers for inner in _contents(item)]
    return depth


def _is_container(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)


def _contents(container: Any) -> Iterable[Any]:
    return container.values() if isinstance(container, Mapping) else container


def _page(limit: int, cursor: str | None) -> dict[str, Any]:
    before = _AFTER_ALL_IDS if cursor is None else parse_cursor(cursor)
    return {"before": before, "limit": limit + 1}  # one more tells whether there is a next page


def _read_page(limit: int) -> Callable[[Rows], SessionPage]:
    def read(rows: Rows) -> SessionPage:
        sessions = tuple(map(ThreadSession.of_row, rows[:limit]))
        return SessionPage(sessions=sessions, next_cursor=str(sessions[-1].id) if len(rows) > limit else None)

    return read


def _session_or_none(rows: Rows) -> ThreadSession | None:
    return ThreadSession.of_row(rows[0]) if rows else None
