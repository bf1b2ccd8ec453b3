"""Commands as statements: pure, valid, and one each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest
from psycopg._queries import MAX_CACHED_STATEMENT_LENGTH

from threadsync.actors import SlackActor
from threadsync.command import Validated
from threadsync.commands import (
    ChannelMoved,
    GetContext,
    GetOrCreate,
    GetSession,
    Link,
    ListByChannel,
    MarkSynced,
    MergeContext,
    RequestSync,
    Unlink,
    UpdateStatus,
)
from threadsync.errors import InvalidCommand, JiraKeyConflict, SessionNotFound
from threadsync.syncs import Draft
from worker.db.paging import parse_cursor
from worker.db.sessions import sql as queries
from worker.db.sessions import statements
from worker.db.sessions.statements import COMMANDS, AllSessions, SessionById, bind, statement_of

THREAD: Final[dict[str, Any]] = {"channel_id": "C0123ABCD", "thread_ts": "1700000000.000100"}
ID: Final = UUID("01900000-0000-7000-8000-000000000001")
ANN: Final = SlackActor(user_id="U0456", team_id="T1")
ACT: Final[dict[str, Any]] = {**THREAD, "jira_key": "PROJ-1", "actor": ANN, "command_id": ID}
ALL: Final[tuple[Validated[Any], ...]] = (
    GetOrCreate(**THREAD, user_id="U0456", actor=ANN),
    UpdateStatus(**THREAD, status="collecting"),
    MarkSynced(**THREAD, jira_key="PROJ-1"),
    RequestSync(**THREAD, draft=Draft(summary="Ü"), drafted_at="1.1"),
    Link(**ACT),
    Unlink(**ACT, reason="a typo", unlinked_at="1.1"),
    SessionById(session_id=ID),
    GetSession(**THREAD),
    ListByChannel(channel_id="C1"),
    ListByChannel(channel_id="C1", status="synced"),
    AllSessions(),
    AllSessions(status="synced", limit=10, cursor=str(ID)),
    GetContext(channel_id="C1"),
    MergeContext(channel_id="C1", patch={"a": 1}, command_id=ID),
    ChannelMoved(channel_id="C1", new_channel_id="C2"),
)
STORED_ANN: Final = '{"user_id":"U0456","team_id":"T1"}'


@pytest.mark.parametrize("command", ALL, ids=lambda command: type(command).__name__)
def test_a_statement_has_the_parameters_that_its_sql_names(command: Validated[Any]) -> None:
    """A statement has exactly the parameters that its SQL names."""
    statement = statement_of(command)
    assert set(statement.params) == set(re.findall(r"%\((\w+)\)s", statement.sql))


def test_every_command_has_its_own_sql() -> None:
    """Every command has its own SQL, in a constant with a comment above it; link and unlink share theirs."""
    assert {type(command) for command in ALL} >= set(COMMANDS)
    assert len({statement_of(command).sql for command in ALL}) == len(ALL) - 1
    source = Path(queries.__file__).read_text(encoding="utf-8")
    constants = re.findall(r"(.*)\n([A-Z]\w+): Final\[LiteralString\]", source)
    assert len(constants) == len(re.findall(r"^[A-Z]\w+(?:: .*)? = ", source, re.MULTILINE))
    assert [name for above, name in constants if not above.startswith("# ")] == []


def test_the_driver_keeps_how_it_read_a_statement() -> None:
    """SQL is short enough for psycopg's cache: else it is parsed each time, for as long as it runs."""
    long = [type(command) for command in ALL if len(statement_of(command).sql) > MAX_CACHED_STATEMENT_LENGTH]
    # Its rules do not fit.
    assert long == [RequestSync]


def test_a_command_that_lacks_a_parameter_cannot_be_bound() -> None:
    """A command that lacks a parameter of its SQL cannot be bound, so the worker does not start."""
    with pytest.raises(TypeError, match="GetOrCreate has no field status"):
        bind(GetOrCreate, queries.UPDATE_STATUS, statements._session)


def test_actors_drafts_and_patches_are_json() -> None:
    """Actors and drafts become JSON; other values are the command's own, with a cursor and a limit."""
    assert [statement_of(command).params for command in ALL if isinstance(command, GetOrCreate | Link)] == [
        {**THREAD, "user_id": "U0456", "actor": STORED_ANN},
        {**ACT, "actor": STORED_ANN, "act": "link", "jira_id": None, "reason": None, "asked_at": None},
    ]
    assert statement_of(Unlink(**ACT, reason="a typo", unlinked_at="1.1")).params == {
        **{**ACT, "actor": STORED_ANN, "act": "unlink", "reason": "a typo"},
        **{"jira_id": None, "asked_at": "1.1"},
    }
    assert statement_of(ALL[3]).params["draft"] == '{"summary":"Ü","description":"","labels":[]}'
    page = statement_of(AllSessions(status="synced", limit=10, cursor=str(ID)))
    assert page.params == {"status": "synced", "limit": 11, "before": ID}


@pytest.mark.parametrize(
    ("command", "row"),
    [
        (GetSession(**THREAD), tuple(THREAD.values())),
        (GetContext(channel_id="C1"), ("C1",)),
        (ListByChannel(channel_id="C1"), None),
        (ChannelMoved(channel_id="C1", new_channel_id="C2"), None),
    ],
)
def test_a_statement_names_its_row(command: Validated[Any], row: tuple[str, ...] | None) -> None:
    """A statement names its row, and one that reads rows of others names none."""
    assert statement_of(command).row == row


def test_no_row_is_no_session() -> None:
    """An empty result raises SessionNotFound, or is None for a read by id or of a context."""
    for command in ALL[1:6]:
        with pytest.raises(SessionNotFound):
            statement_of(command).read([])
    assert statement_of(SessionById(session_id=ID)).read([]) is None
    assert statement_of(GetContext(channel_id="C1")).read([]) is None


def test_a_conflict_is_read_from_the_row() -> None:
    """A conflict is raised with the key that the row has and the one that was refused."""
    for command, row in (
        (MarkSynced(**THREAD, jira_key="PROJ-2"), {"jira_key": "PROJ-1"}),
        (Link(**{**ACT, "jira_key": "PROJ-2"}), {"jira_key": None, "key_before": "PROJ-1"}),
    ):
        with pytest.raises(JiraKeyConflict) as refusal:
            statement_of(command).read([{"outcome": "conflict", **row}])
        assert refusal.value.args == (*THREAD.values(), "PROJ-1", "PROJ-2")


def test_synced_is_not_a_status_to_set() -> None:
    """`synced` cannot be set by `update_status`, and the error names the command that does it."""
    with pytest.raises(InvalidCommand, match="status: 'synced' is set by mark_synced"):
        UpdateStatus(**THREAD, status="synced")


def test_a_channel_does_not_move_to_itself() -> None:
    """A channel that moves to itself is refused by the argument's name."""
    with pytest.raises(InvalidCommand, match=r"^new_channel_id: is the same as channel_id$"):
        ChannelMoved(channel_id="C1", new_channel_id="C1")


def test_an_id_may_be_text() -> None:
    """An id may be text, and is a UUID in the statement."""
    assert statement_of(SessionById(session_id=str(ID))).params == {"session_id": ID}
    merge = MergeContext(channel_id="C1", patch={}, command_id=str(ID))
    assert statement_of(merge).params["command_id"] == ID
    assert parse_cursor(str(ID)) == ID


def test_faults_carry_no_values() -> None:
    """An error quotes no value, because a value may be secret or huge."""
    with pytest.raises(InvalidCommand) as refusal:
        GetOrCreate(channel_id="secret value", thread_ts="x" * 1_000_000, user_id="secret value")
    assert "secret" not in str(refusal.value)
    assert len(str(refusal.value)) < 300


def merge_of(patch: dict[str, Any]) -> MergeContext:
    return MergeContext(channel_id="C1", patch=patch, command_id=ID)


@pytest.mark.parametrize(
    ("patch", "text"),
    [
        ({}, "{}"),
        ({"a": None, "b": [1, 2.5, True]}, '{"a": null, "b": [1, 2.5, true]}'),
        ({"ü": "🎫"}, '{"ü": "🎫"}'),
        ({"a": "\\u0000"}, '{"a": "\\\\u0000"}'),
    ],
)
def test_a_patch_is_json(patch: dict[str, Any], text: str) -> None:
    """A patch becomes JSON, and text that looks like an escaped NUL stays text."""
    assert statement_of(merge_of(patch)).params["patch"] == text


@pytest.mark.parametrize(
    ("patch", "fault"),
    [
        ({"a": "\x00"}, "NUL"),
        ({"a": "\\\x00"}, "NUL"),
        ({"a": float("nan")}, "not a JSON object"),
        ({"a": "\ud800"}, "not a JSON object"),
        ({"a": "x" * 65_536}, "65545 bytes of JSON; the limit is 65536"),
        ({"a": "ü" * 40_000}, "bytes of JSON"),
    ],
)
def test_a_bad_patch_is_refused(patch: dict[str, Any], fault: str) -> None:
    """A bad patch is refused before it reaches the database."""
    with pytest.raises(InvalidCommand, match=f"^patch: .*{fault}"):
        merge_of(patch)


def test_the_depth_of_a_patch_is_bounded() -> None:
    """A patch may be 32 levels deep and no deeper, without exhausting the stack."""
    value: Any = 1
    for _ in range(32):
        value = {"a": value}
    merge_of(value)
    with pytest.raises(InvalidCommand, match="deeper than 32 levels"):
        merge_of({"a": value})
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidCommand, match="deeper than 32 levels"):
        merge_of({"a": value})
