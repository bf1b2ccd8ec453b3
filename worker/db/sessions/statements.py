"""The statement of each command: a binding has its SQL, its reader, and what to send next. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, Final, Generic, LiteralString, TypeVar
from uuid import UUID

from pydantic import BaseModel

from threadsync import commands
from threadsync.channels import ChannelContext, ChannelMove, ContextResult
from threadsync.command import Command, Message, Validated
from threadsync.dto import Dto
from threadsync.errors import JiraKeyConflict, SessionNotFound
from threadsync.queues import SYNCS_QUEUE
from threadsync.sessions import SessionPage, SessionResult, ThreadSession
from threadsync.types import AnyUuid, Cursor, PageLimit, Status
from worker.db.paging import AFTER_ALL_IDS
from worker.db.session_parts import ACT
from worker.db.sessions import many_sql, sql
from worker.db.statement import Rows, Statement

R = TypeVar("R")
D = TypeVar("D", bound=Dto)
_PARAMETER: Final = re.compile(r"%\((\w+)\)s")


class SessionById(Validated[ThreadSession | None]):
    """Arguments of ``get_session``, which no message carries."""

    session_id: AnyUuid


class AllSessions(Validated[SessionPage]):
    """Arguments of ``list_sessions``, which no message carries."""

    status: Status | None = None
    limit: PageLimit = 50
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Binding(Generic[R]):
    """The statement of a command, and the message to send when it is done."""

    command: type[Validated[R]]
    statement: Callable[[Any], Statement[R]]
    then: Callable[[R], Message | None] | None = None
    is_for_many: bool = False


def bind(
    command: type[Validated[R]],
    text: LiteralString,
    read: Callable[[Any, Rows], R],
    *,
    row: tuple[str, ...] = ("channel_id", "thread_ts"),
    for_many: LiteralString | None = None,
    then: Callable[[R], Message | None] | None = None,
    **values: Any,
) -> Binding[R]:
    """Bind a command to its SQL, whose parameters are the command's fields and ``values``.

    Args:
        row: the fields that name the one row of the statement; empty where it reads rows that it cannot name.
        for_many: the SQL for many of these commands at once, with arrays as parameters.
        then: makes the message that is sent next. It may be lost.
        values: by parameter; one that is callable gets the command.
    """
    fields = list({name for name in _PARAMETER.findall(text) if name not in values})
    if unknown := {*fields, *row} - set(command.model_fields):
        raise TypeError(f"{command.__name__} has no field {', '.join(sorted(unknown))}")

    def statement(given: Validated[R]) -> Statement[R]:
        held = vars(given)
        params = {name: _stored(held[name]) for name in fields}
        for name, value in values.items():
            params[name] = value(given) if callable(value) else value
        named = tuple([held[name] for name in row]) or None
        return Statement(text, params, partial(read, given), named, for_many)

    return Binding(command, statement, then, for_many is not None)


def _stored(value: Any) -> Any:
    """Return the value as Postgres takes it; actors, drafts and patches are JSON."""
    # Most are; to ask about a model takes as long as all the rest.
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, BaseModel):
        return value.model_dump_json(exclude_none=True)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def _session(command: Any, rows: Rows) -> SessionResult:
    if not rows:
        raise SessionNotFound(command.channel_id, command.thread_ts)
    return SessionResult.model_validate(rows[0])


def _with_key(command: Any, rows: Rows) -> SessionResult:
    if rows and rows[0]["outcome"] == "conflict":
        # An act that is repeated may meet a session that got another key since.
        key = rows[0].get("key_before", rows[0]["jira_key"])
        raise JiraKeyConflict(command.channel_id, command.thread_ts, key, command.jira_key)
    return _session(command, rows)


def _only(dto: type[D]) -> Callable[[Any, Rows], D]:
    return lambda _command, rows: dto.model_validate(rows[0])


def _session_or_none(_command: Any, rows: Rows) -> ThreadSession | None:
    return ThreadSession.of_row(rows[0]) if rows else None


def _context_or_none(_command: Any, rows: Rows) -> ChannelContext | None:
    return ChannelContext.model_validate(rows[0]) if rows else None


def _page(command: Any, rows: Rows) -> SessionPage:
    sessions = tuple(map(ThreadSession.of_row, rows[: command.limit]))
    is_more = len(rows) > command.limit
    return SessionPage(sessions=sessions, next_cursor=str(sessions[-1].id) if is_more else None)


def _bind_list(
    command: type[Validated[SessionPage]], of_all: LiteralString, of_status: LiteralString
) -> Binding[SessionPage]:
    """Bind a list to two statements, each with an index of its own."""
    page: dict[str, Any] = {
        "before": lambda given: UUID(given.cursor) if given.cursor else AFTER_ALL_IDS,
        # A row more than the page tells whether there is a next one.
        "limit": lambda given: given.limit + 1,
    }
    every, some = (bind(command, text, _page, row=(), **page) for text in (of_all, of_status))
    return Binding(command, lambda given: (some if given.status else every).statement(given))


def _sync_it(result: SessionResult) -> Message | None:
    # The sweep replaces a lost message.
    if result.outcome != "applied":
        return None
    return Message("syncs.sync", {"session_id": str(result.id)}, SYNCS_QUEUE)


_BINDINGS: Final[tuple[Binding[Any], ...]] = (
    bind(commands.GetOrCreate, sql.GET_OR_CREATE_SESSION, _session, for_many=many_sql.GET_OR_CREATE_SESSIONS),
    bind(commands.UpdateStatus, sql.UPDATE_STATUS, _session, for_many=many_sql.UPDATE_STATUSES),
    bind(commands.MarkSynced, sql.MARK_SYNCED, _with_key, for_many=many_sql.MARK_ALL_SYNCED),
    bind(commands.RequestSync, sql.REQUEST_SYNC, _session, for_many=many_sql.REQUEST_SYNCS, then=_sync_it),
    bind(commands.Link, ACT, _with_key, act="link", asked_at=None),
    bind(commands.Unlink, ACT, _with_key, act="unlink", jira_id=None, asked_at=attrgetter("unlinked_at")),
    bind(commands.GetSession, sql.GET_SESSION_BY_THREAD, _session_or_none),
    _bind_list(commands.ListByChannel, sql.LIST_SESSIONS_BY_CHANNEL, sql.LIST_SESSIONS_BY_CHANNEL_AND_STATUS),
    bind(commands.GetContext, sql.GET_CHANNEL_CONTEXT, _context_or_none, row=("channel_id",)),
    bind(commands.MergeContext, sql.MERGE_CHANNEL_CONTEXT, _only(ContextResult), row=("channel_id",)),
    # The move reads and writes rows of both channels.
    bind(commands.ChannelMoved, sql.CHANNEL_MOVED, _only(ChannelMove), row=()),
    bind(SessionById, sql.GET_SESSION, _session_or_none, row=()),
    _bind_list(AllSessions, sql.LIST_SESSIONS, sql.LIST_SESSIONS_BY_STATUS),
)
_BY_COMMAND: Final[Mapping[type[Validated[Any]], Binding[Any]]] = {item.command: item for item in _BINDINGS}

COMMANDS: Final[tuple[type[Command[Any]], ...]] = tuple(
    item.command for item in _BINDINGS if issubclass(item.command, Command)
)
"""The commands that are one SQL statement each, so that hundreds run in few round trips."""

FOR_MANY: Final = frozenset(item.command for item in _BINDINGS if item.is_for_many)
"""The commands that one statement carries out for many: those of the fast lane."""


def statement_of(command: Validated[R]) -> Statement[R]:
    """Return the one SQL statement that carries the command out."""
    return _BY_COMMAND[type(command)].statement(command)


def message_after(command: type[Command[R]], result: R) -> Message | None:
    """Return the message to send when the command is done. It may be lost."""
    then = _BY_COMMAND[command].then
    return then(result) if then else None
