"""Commands as data: pure, checked, and one statement each."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from threadsync.errors import InvalidCommand, JiraKeyConflict, SessionNotFound
from worker.db.sessions import sql as queries
from worker.db.sessions import statements
from worker.db.sessions.statements import Statement, encode_patch, parse_cursor

THREAD: Final = ("C0123ABCD", "1700000000.000100")
ID: Final = UUID("01900000-0000-7000-8000-000000000001")
ALL: Final[dict[str, Callable[[], Statement[Any]]]] = {
    "get_or_create_session": lambda: statements.get_or_create_session(*THREAD, "U0456"),
    "update_status": lambda: statements.update_status(*THREAD, "collecting"),
    "mark_synced": lambda: statements.mark_synced(*THREAD, "PROJ-1"),
    "get_session": lambda: statements.get_session(ID),
    "get_session_by_thread": lambda: statements.get_session_by_thread(*THREAD),
    "list_sessions_by_channel": lambda: statements.list_sessions_by_channel("C1"),
    "list_sessions_by_channel(status)": lambda: statements.list_sessions_by_channel("C1", "synced"),
    "list_sessions": lambda: statements.list_sessions(),
    "list_sessions(status)": lambda: statements.list_sessions("synced", 10, str(ID)),
    "get_channel_context": lambda: statements.get_channel_context("C1"),
    "merge_channel_context": lambda: statements.merge_channel_context("C1", {"a": 1}, ID),
}


@pytest.mark.parametrize("name", ALL)
def test_a_statement_has_the_parameters_that_its_sql_names(name: str) -> None:
    """No more and no fewer, or the driver would refuse it."""
    statement = ALL[name]()
    assert set(statement.params) == set(re.findall(r"%\((\w+)\)s", statement.sql))


def test_every_command_has_its_own_sql() -> None:
    """One constant a command, each with a sentence above it."""
    assert len({build().sql for build in ALL.values()}) == len(ALL)
    source = Path(queries.__file__).read_text(encoding="utf-8")
    constants = re.findall(r"(.*)\n([A-Z]\w+): Final\[LiteralString\]", source)
    assert len(constants) == len([name for name in vars(queries) if name.isupper() and name[0] != "_"])
    assert [name for above, name in constants if not above.startswith("# ")] == []


def test_building_a_statement_needs_no_driver() -> None:
    """So a web process can check a command without loading psycopg."""
    code = (
        "import sys, worker.db.sessions.statements, threadsync.sessions; sys.exit('psycopg' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_row_is_no_session() -> None:
    """The statement itself knows what an empty answer means."""
    with pytest.raises(SessionNotFound):
        statements.update_status(*THREAD, "collecting").read([])
    with pytest.raises(SessionNotFound):
        statements.mark_synced(*THREAD, "PROJ-1").read([])
    assert statements.get_session(ID).read([]) is None
    assert statements.get_channel_context("C1").read([]) is None


def test_a_conflict_is_read_from_the_row() -> None:
    """The database says `conflict`, and whose key it has."""
    with pytest.raises(JiraKeyConflict) as refusal:
        statements.mark_synced(*THREAD, "PROJ-2").read([{"outcome": "conflict", "jira_key": "PROJ-1"}])
    assert refusal.value.args == (*THREAD, "PROJ-1", "PROJ-2")


def test_synced_is_not_a_status_to_set() -> None:
    """The message names the command that does it."""
    with pytest.raises(InvalidCommand, match="mark_synced"):
        statements.update_status(*THREAD, "synced")


def test_an_id_may_be_text() -> None:
    """It travels as JSON; the statement has a UUID all the same."""
    assert statements.get_session(str(ID)).params == {"session_id": ID}
    assert statements.merge_channel_context("C1", {}, str(ID)).params["command_id"] == ID
    assert parse_cursor(str(ID)) == ID


def test_faults_carry_no_values() -> None:
    """They may be secret, or a megabyte."""
    with pytest.raises(InvalidCommand) as refusal:
        statements.get_or_create_session("secret value", "x" * 1_000_000, "secret value")
    assert "secret" not in str(refusal.value)
    assert len(str(refusal.value)) < 300


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
    """Text that merely looks like an escaped NUL is text."""
    assert encode_patch(patch) == text


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
    """Before the database sees it."""
    with pytest.raises(InvalidCommand, match=fault):
        encode_patch(patch)


def test_the_depth_of_a_patch_is_bounded() -> None:
    """32 levels are taken, 33 are not, and a hundred thousand do not exhaust the stack."""
    value: Any = 1
    for _ in range(32):
        value = {"a": value}
    encode_patch(value)
    with pytest.raises(InvalidCommand, match="deeper than 32 levels"):
        encode_patch({"a": value})
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidCommand, match="deeper than 32 levels"):
        encode_patch({"a": value})
