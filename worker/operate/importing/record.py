"""A line of an import: a session, and the commands that make it."""

from __future__ import annotations

from typing import Any, Final

import pydantic_core

from threadsync.actors import AnyActor
from threadsync.command import Command
from threadsync.commands import GetOrCreate, MarkSynced, UpdateStatus
from threadsync.errors import InvalidCommand
from threadsync.sessions import SessionResult, ThreadSession
from worker.operate.importing.lines import LONGEST_LINE

_REQUIRED: Final = ("channel_id", "thread_ts", "user_id")
_IMPORTED: Final = (*_REQUIRED, "status", "jira_key")
# `sessions list --json` has times and an id too. A row gets its own, so these say nothing here.
_KNOWN: Final = frozenset(ThreadSession.model_fields)
_SHOWN_OF_A_NAME: Final = 40


def commands_of(line: bytes, actor: AnyActor | None = None) -> list[Command[SessionResult]]:
    """Return the commands for a line, to be run in this order; none for a blank one.

    They may be repeated like any, so that a line may be imported again, and never moves a session back.
    ``actor`` imports it.
    Raises ``InvalidCommand``, without the values.
    """
    if len(line) > LONGEST_LINE:
        raise InvalidCommand(f"is longer than {LONGEST_LINE} bytes")
    if not line.strip():
        return []
    fields = _fields(line)
    thread = {name: fields[name] for name in ("channel_id", "thread_ts")}
    opened = GetOrCreate(**thread, user_id=fields["user_id"], actor=actor)
    status, jira_key = fields.get("status"), fields.get("jira_key")
    if jira_key is not None:
        if status not in (None, "synced"):
            raise InvalidCommand("status: a session with a jira_key is synced")
        return [opened, MarkSynced(**thread, jira_key=jira_key, actor=actor)]
    if status is None or status == "collecting":
        return [opened]
    if status == "synced":
        raise InvalidCommand("jira_key: a synced session has one")
    return [opened, UpdateStatus(**thread, status=status, actor=actor)]


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
