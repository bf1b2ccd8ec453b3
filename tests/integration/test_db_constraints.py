"""Database constraints that hold what the models promise, and the sentences for their violations."""

from __future__ import annotations

from typing import Annotated, Any, Final, get_args

import psycopg
import pytest
from psycopg.types.json import Jsonb
from pydantic import StringConstraints

from tests.support.servers import ask
from threadsync.errors import InvalidCommand
from threadsync.types import JiraKey, SlackId, SlackTs
from worker.db.driver_errors import CONSTRAINTS, translated

GOOD_SESSION: Final = {
    "channel_id": "C1",
    "thread_ts": "1.1",
    "user_id": "U1",
    "status": "collecting",
    "jira_key": None,
}
INSERT_SESSION: Final = """
INSERT INTO thread_sessions (channel_id, thread_ts, user_id, status, jira_key)
VALUES (%(channel_id)s, %(thread_ts)s, %(user_id)s, %(status)s, %(jira_key)s)
"""
INSERT_CONTEXT: Final = (
    "INSERT INTO channel_context (channel_id, context_data) VALUES (%(channel_id)s, %(data)s)"
)
NO_COMMAND_CAN_VIOLATE: Final = {"channel_context_version_check"}

VIOLATIONS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "thread_sessions_status_check": (INSERT_SESSION, {**GOOD_SESSION, "status": "done"}),
    "thread_sessions_synced_has_key_check": (INSERT_SESSION, {**GOOD_SESSION, "status": "synced"}),
    "thread_sessions_channel_id_check": (INSERT_SESSION, {**GOOD_SESSION, "channel_id": "#general"}),
    "thread_sessions_thread_ts_check": (INSERT_SESSION, {**GOOD_SESSION, "thread_ts": "1e9"}),
    "thread_sessions_user_id_check": (INSERT_SESSION, {**GOOD_SESSION, "user_id": "U" * 65}),
    "thread_sessions_jira_key_check": (
        INSERT_SESSION,
        {**GOOD_SESSION, "status": "synced", "jira_key": "proj-1"},
    ),
    "channel_context_channel_id_check": (INSERT_CONTEXT, {"channel_id": "", "data": Jsonb({})}),
    "channel_context_object_check": (INSERT_CONTEXT, {"channel_id": "C1", "data": Jsonb([])}),
    "channel_context_size_check": (
        INSERT_CONTEXT,
        {"channel_id": "C1", "data": Jsonb({"a": "x" * 1_048_576})},
    ),
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_violation_is_translated_by_name(database_url: str, name: str) -> None:
    """A violated constraint raises InvalidCommand with the sentence for that constraint."""
    statement, row = VIOLATIONS[name]
    with psycopg.connect(database_url) as connection, pytest.raises(InvalidCommand) as refusal, translated():
        connection.execute(statement, row)
    cause = refusal.value.__cause__
    assert isinstance(cause, psycopg.errors.CheckViolation)
    assert cause.diag.constraint_name == name
    assert str(refusal.value) == CONSTRAINTS[name]


def test_every_constraint_has_its_words(database_url: str) -> None:
    """Every CHECK that a command can violate has a sentence."""
    checks = ask(
        database_url,
        "SELECT array_agg(conname::text) FROM pg_constraint WHERE contype = 'c' "
        "AND conrelid IN ('thread_sessions'::regclass, 'channel_context'::regclass)",
    )
    assert isinstance(checks, list)
    assert set(checks) - NO_COMMAND_CAN_VIOLATE == set(CONSTRAINTS)


@pytest.mark.parametrize(
    ("constraint", "model"),
    [
        ("thread_sessions_channel_id_check", SlackId),
        ("thread_sessions_user_id_check", SlackId),
        ("thread_sessions_thread_ts_check", SlackTs),
        ("thread_sessions_jira_key_check", JiraKey),
        ("channel_context_channel_id_check", SlackId),
    ],
)
def test_database_and_models_have_the_same_pattern(
    database_url: str, constraint: str, model: Annotated[Any, StringConstraints]
) -> None:
    """Each CHECK in the database has the same pattern as its model."""
    pattern = next(item.pattern for item in get_args(model) if isinstance(item, StringConstraints))
    check = ask(
        database_url, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", constraint
    )
    assert f"'{pattern}'" in str(check)


def test_the_constraint_keeps_rows_that_break_a_promise_out(database_url: str) -> None:
    """A second session for the same thread violates a unique constraint."""
    with psycopg.connect(database_url) as connection:
        connection.execute(INSERT_SESSION, GOOD_SESSION)
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(INSERT_SESSION, GOOD_SESSION)
