"""A line of an import: a session, and the statements that make it."""

from __future__ import annotations

from typing import Any, Final

import pydantic_core

from threadsync.command import Validated
from threadsync.errors import InvalidCommand
from threadsync.sessions import ThreadSession
from threadsync.types import JiraKey, Outcome, SlackId, SlackTs, Status
from worker.db.sessions.outcomes import closing, moving, opening
from worker.db.statement import Statement
from worker.operate.importing.lines import LONGEST_LINE

_REQUIRED: Final = ("channel_id", "thread_ts", "user_id")
_IMPORTED: Final = (*_REQUIRED, "status", "jira_key")
# `sessions list --json` has times and an id too. A row gets its own, so these say nothing here.
_KNOWN: Final = frozenset(ThreadSession.model_fields)
_SHOWN_OF_A_NAME: Final = 40


class _Line(Validated[Outcome]):
    """The fields of a line, by the rules of the commands that it stands for."""

    channel_id: SlackId
    thread_ts: SlackTs
    user_id: SlackId
    status: Status | None = None
    jira_key: JiraKey | None = None


def statements_of(line: bytes, actor: str | None = None) -> list[Statement[Outcome]]:
    """Return the statements for a line, to be run in this order; none for a blank one.

    They may be repeated like any, so that a line may be imported again, and never moves a session back.
    ``actor``, as it is stored, imports it.
    Raises ``InvalidCommand``, without the values.
    """
    if len(line) > LONGEST_LINE:
        raise InvalidCommand(f"is longer than {LONGEST_LINE} bytes")
    if not line.strip():
        return []
    given = _Line(**_fields(line))
    channel_id, thread_ts, status, jira_key = given.channel_id, given.thread_ts, given.status, given.jira_key
    opened = opening(channel_id, thread_ts, given.user_id, actor)
    if jira_key is not None:
        if status not in (None, "synced"):
            raise InvalidCommand("status: a session with a jira_key is synced")
        return [opened, closing(channel_id, thread_ts, jira_key, actor)]
    if status is None or status == "collecting":
        return [opened]
    if status == "synced":
        raise InvalidCommand("jira_key: a synced session has one")
    return [opened, moving(channel_id, thread_ts, status, actor)]


def _fields(line: bytes) -> dict[str, Any]:
    try:
        fields = pydantic_core.from_json(line, allow_inf_nan=False)
    except ValueError as exc:
        raise InvalidCommand(_no_json(line, exc)) from exc
    if not isinstance(fields, dict):
        raise InvalidCommand("is no JSON object")
    if missing := [name for name in _REQUIRED if name not in fields]:
        raise InvalidCommand(f"has no {', '.join(missing)}")
    if unknown := fields.keys() - _KNOWN:
        # A slip of the pen would lose the field's value. The name is a stranger's: it is shown in ASCII.
        name = ascii(min(unknown)[:_SHOWN_OF_A_NAME])
        raise InvalidCommand(f"has an unknown field {name}; known are {', '.join(_IMPORTED)}")
    return fields


def _no_json(line: bytes, exc: ValueError) -> str:
    try:
        line.decode()
    except UnicodeDecodeError as undecodable:
        return f"is not UTF-8 at byte {undecodable.start + 1}"
    if b"\x00" in line:
        return f"has a NUL at byte {line.index(0) + 1}"
    return f"is no JSON: {str(exc).replace(' at line 1', ' at')}"
