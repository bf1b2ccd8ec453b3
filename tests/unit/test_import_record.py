"""A line of an import as the statements that create its session, or as a fault."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from threadsync.actors import NamedActor, as_json
from threadsync.command import Command
from threadsync.commands import GetOrCreate, MarkSynced, UpdateStatus
from threadsync.errors import InvalidCommand
from worker.db.sessions.statements import statement_of
from worker.operate.importing.lines import LONGEST_LINE
from worker.operate.importing.record import statements_of

THREAD: Final[dict[str, Any]] = {"channel_id": "C1", "thread_ts": "1.1"}
ACTOR: Final = NamedActor(name="ann", via="cli")
SESSION: Final = {**THREAD, "user_id": "U1"}


@pytest.mark.parametrize(
    ("fields", "command"),
    [
        ({}, None),
        ({"status": "collecting"}, None),
        ({"status": None, "jira_key": None}, None),
        (
            {"status": "ready_to_sync"},
            UpdateStatus(**THREAD, status="ready_to_sync", actor=ACTOR),
        ),
        ({"jira_key": "PROJ-1"}, MarkSynced(**THREAD, jira_key="PROJ-1", actor=ACTOR)),
        (
            {"jira_key": "PROJ-1", "status": "synced"},
            MarkSynced(**THREAD, jira_key="PROJ-1", actor=ACTOR),
        ),
    ],
)
def test_each_state_has_its_commands(fields: dict[str, Any], command: Command[Any] | None) -> None:
    """A line's session is opened, then moved to the state of the line, with the SQL of these commands."""
    made = statements_of(json.dumps({**SESSION, **fields}).encode(), as_json(ACTOR))
    wanted = [GetOrCreate(**SESSION, actor=ACTOR), *([command] if command else [])]
    assert [(one.sql, one.params, one.row) for one in made] == [
        (one.sql, one.params, one.row) for one in map(statement_of, wanted)
    ]


def test_what_sessions_list_prints_is_taken() -> None:
    """A line printed by `sessions list` is accepted; its id and times are left out."""
    extra = {"id": "01900000-0000-7000-8000-000000000001", "created_at": "now", "updated_at": 5}
    assert len(statements_of(json.dumps({**SESSION, **extra}).encode())) == 1


@pytest.mark.parametrize("line", [b"", b"\r", b" \t \r"])
def test_a_blank_line_is_nothing(line: bytes) -> None:
    """A blank line is neither a session nor a fault."""
    assert statements_of(line) == []


@pytest.mark.parametrize("line", [b"%s\r", b"  %s  "])
def test_blanks_around_are_nothing(line: bytes) -> None:
    """Blanks and a carriage return around a line are ignored."""
    assert len(statements_of(line % json.dumps(SESSION).encode())) == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "is no JSON: EOF while parsing an object at column 1"),
        (b"{} {}", "is no JSON: trailing characters at column 4"),
        (b"[" * 10_000, "is no JSON: recursion limit exceeded at column"),
        (b'{"channel_id": NaN}', "is no JSON"),
        (b"[]", "is no JSON object"),
        (b"null", "is no JSON object"),
        (b'{"channel_id": "C\xff"}', "is not UTF-8 at byte 18"),
        (b'\xff\xfe{\x00"\x00', "is not UTF-8 at byte 1"),
        (b'{"channel_id": "C\x00"}', "has a NUL at byte 18"),
        (b'{"channel_id": "C1", "thread_ts": "1.1"}', "has no user_id"),
        (b"{}", "has no channel_id, thread_ts, user_id"),
        (b"x" * (LONGEST_LINE + 1), "is longer than 1048576 bytes"),
        # A longer line is cut to this length.
        (b" " * (LONGEST_LINE + 1), "is longer than 1048576 bytes"),
    ],
    ids=range(13),
)
def test_what_is_no_session(line: bytes, reason: str) -> None:
    """A line that is no session is refused with a reason and its place."""
    with pytest.raises(InvalidCommand) as refusal:
        statements_of(line)
    assert str(refusal.value).startswith(reason)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"channel_id": "", "user_id": 5}, r"channel_id: .*; user_id: "),
        ({"channel_id": "C1\x00"}, "channel_id: "),
        ({"thread_ts": 1.1}, "thread_ts: "),
        ({"status": "done"}, "status: "),
        ({"status": ["synced"]}, "status: "),
        ({"status": "synced"}, "jira_key: a synced session has one"),
        ({"status": "ready_to_sync", "jira_key": "PROJ-1"}, "status: a session with a jira_key is synced"),
        ({"jira_key": "proj"}, "jira_key: "),
        ({"jira_key": ""}, "jira_key: "),
        ({"jirakey": "PROJ-1"}, "unknown field 'jirakey'; known are channel_id"),
        ({"\x1b[2J" + "x" * 1000: 1}, r"unknown field '\\x1b\[2Jx{36}';"),
    ],
)
def test_a_fault_is_named(fields: dict[str, Any], reason: str) -> None:
    """A wrong field is named in a printable text of bounded length, without its value."""
    with pytest.raises(InvalidCommand, match=reason) as refusal:
        statements_of(json.dumps({**SESSION, **fields}).encode())
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 300
