"""Rows of another release or edited by hand, of which unreadable values are marked and others shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import LiteralString
from uuid import UUID

import httpx
import psycopg
import pytest
from prometheus_client import generate_latest

from tests.support.command_runs import output, run_in
from tests.support.console_client import PASSWORD, console_on, sign_in
from tests.support.scraping import samples_of
from tests.support.servers import as_owner, ask
from threadsync.config import load_settings
from threadsync.errors import CommandFailed
from threadsync.syncs import Draft
from worker.db import SessionStore
from worker.db.dead_letters.letter import Letter
from worker.db.dead_letters.store import DeadLetterStore
from worker.db.overview.store import OverviewStore
from worker.db.pool import Pool
from worker.db.syncs.store import SyncStore
from worker.doctor.app import app_of
from worker.operate.installation_metrics import registry_of

DEEP = "[" * 5_000 + "]" * 5_000
ANSI = "\x1b[2J\x1b[31mforged\r\nline\u202e"
MOMENTS = ("infinity", "-infinity", "0001-01-01 00:00+14", "0044-03-15 BC", "294276-12-31", "2093-01-01")

OF_A_NEWER_RELEASE: LiteralString = """
ALTER TABLE thread_sessions DROP CONSTRAINT thread_sessions_status_check,
    DROP CONSTRAINT thread_sessions_user_id_check, ADD COLUMN mood text DEFAULT 'fine';
ALTER TABLE syncs DROP CONSTRAINT syncs_state_check, DROP CONSTRAINT syncs_origin_check;
ALTER TABLE sync_attempts DROP CONSTRAINT sync_attempts_step_check,
    DROP CONSTRAINT sync_attempts_outcome_check;
ALTER TABLE sync_actions DROP CONSTRAINT sync_actions_action_check;
ALTER TABLE dead_letters DROP CONSTRAINT dead_letters_state_check, ADD COLUMN mood text DEFAULT 'fine';
ALTER TABLE installation_actions DROP CONSTRAINT installation_actions_action_check;
"""


def opened(pool: Pool, number: int) -> UUID:
    store, thread = SessionStore(pool), f"1700000000.{number:06}"
    session = store.get_or_create_session("C1", thread, "U1")
    store.request_sync("C1", thread, Draft(summary="a plan"), "1700000001.000100")
    return session.id


def buried(pool: Pool, number: int, arguments: str = '{"args": [], "kwargs": {}}') -> UUID:
    return DeadLetterStore(pool).bury(
        Letter(
            task_id=f"task-{number}",
            task_name="sessions.get",
            queue="sessions",
            error=CommandFailed("a failure"),
            attempts=1,
            arguments=arguments,
        )
    )


def spoil(url: str, good: UUID, bad: UUID, letter: UUID) -> None:
    """Write values that this release never writes into rows beside good ones."""
    with psycopg.connect(as_owner(url), autocommit=True) as connection:
        connection.execute(OF_A_NEWER_RELEASE)
        connection.execute(
            "UPDATE thread_sessions SET status = 'frozen', user_id = %s, created_at = 'infinity',"
            " updated_at = '0044-03-15 BC' WHERE id = %s",
            [ANSI, bad],
        )
        connection.execute(
            "UPDATE syncs SET state = 'thawing', reason = %s, detail = %s, origin = 'dreamt',"
            " drafted_at = 'NaN', next_attempt_at = 'infinity', draft = %s::jsonb WHERE session_id = %s",
            [ANSI, ANSI, f'{{"summary": "x", "deep": {DEEP}}}', bad],
        )
        for session in (good, bad):
            connection.execute(
                "INSERT INTO sync_attempts (session_id, number, step, fence, started_at, outcome,"
                " finished_at, http_status) VALUES (%s, 1, 'search', 1, now(), 'absent', now(), 200),"
                " (%s, 2, 'divine', 1, 'infinity', 'foreseen', '-infinity', 2147483647)",
                [session, session],
            )
            connection.execute(
                "INSERT INTO sync_actions (session_id, action, actor, reason, at) VALUES"
                " (%s, 'retry', 'ann', 'because', now()), (%s, 'bless', %s, %s, 'infinity')",
                [session, session, ANSI, ANSI],
            )
        connection.execute(
            "UPDATE dead_letters SET state = 'parked', settled_at = 'infinity', actor = %s, reason = %s,"
            " task_name = %s, error = %s, attempts = 2147483647, first_attempt_at = '0044-01-01 BC'"
            " WHERE id = %s",
            [ANSI, ANSI, ANSI, ANSI, letter],
        )
        connection.execute(
            "INSERT INTO installation_actions (action, actor, reason, installation, at)"
            " VALUES ('exorcise', %s, 'because', gen_random_uuid(), '-infinity')",
            [ANSI],
        )
        connection.execute(
            "INSERT INTO queue_samples (queue, sampled_at, waiting, oldest_seconds) VALUES"
            " ('sessions', 'infinity', 1, 'infinity'), ('sessions', '294276-12-31', 1, 'NaN'),"
            " ('sessions', now(), 1, 'NaN'), ('syncs', now(), 1, 'infinity')"
        )


@pytest.fixture
def spoilt(pool: Pool, database_url: str) -> tuple[UUID, UUID, UUID]:
    """Create a good and a spoilt session, and a spoilt dead letter between good ones."""
    good, bad = opened(pool, 1), opened(pool, 2)
    buried(pool, 1)
    letter = buried(pool, 2)
    buried(pool, 3)
    spoil(database_url, good, bad, letter)
    return good, bad, letter


def test_stores_read_what_is_beside_a_bad_row(pool: Pool, spoilt: tuple[UUID, UUID, UUID]) -> None:
    """Stores name each value that they do not know and return all others."""
    good, bad, letter = spoilt
    first, second = SessionStore(pool).list_sessions().sessions
    assert (first.id, first.unreadable) == (bad, ("user_id", "status"))
    assert (second.id, second.unreadable, second.status) == (good, (), "ready_to_sync")
    detail = SyncStore(pool).get(bad)
    assert detail is not None
    assert detail.sync.unreadable == ("state", "origin")
    assert detail.draft.summary == "(the stored draft cannot be read)"
    assert [attempt.unreadable for attempt in detail.attempts] == [(), ("step",)]
    assert [action.unreadable for action in detail.actions] == [(), ("action",)]
    assert [sync.unreadable for sync in SyncStore(pool).list_syncs()] == [("state", "origin"), ()]
    assert DeadLetterStore(pool).get(letter).unreadable == ("state",)
    assert len(DeadLetterStore(pool).list_by_state("dead")) == 2
    decisions = OverviewStore(pool).decisions(50)
    assert [decision.action for decision in decisions if not decision.unreadable] == ["discard"] + [
        "retry"
    ] * 2
    assert len(decisions) == 6


def test_a_worker_lets_a_bad_sync_be(pool: Pool, database_url: str, spoilt: tuple[UUID, UUID, UUID]) -> None:
    """A worker does not claim a sync with an unknown state, and claims the good one."""
    ask(database_url, "UPDATE syncs SET next_attempt_at = now() - interval '1 s'")
    store = SyncStore(pool)
    good, bad, _ = spoilt
    claims = [store.claim(session, site="jira.example.com", lease=60) for session in (good, bad)]
    assert [claim and claim.session_id for claim in claims] == [good, None]


def test_counts_have_a_place_for_what_is_not_known(
    pool: Pool, database_url: str, broker_url: str, spoilt: tuple[UUID, UUID, UUID]
) -> None:
    """Counts and metrics put all unknown states into one series."""
    counts = OverviewStore(pool).counts()
    assert (counts.sessions["other"], counts.syncs["other"], counts.dead_letters["other"]) == (1, 1, 1)
    assert counts.dead_letters["dead"] == 2
    shown = samples_of(
        generate_latest(registry_of(pool, app_of(load_settings(celery_broker_url=broker_url)))).decode()
    )
    assert shown['threadsync_sessions{status="other"}'] == 1
    for at in MOMENTS:
        ask(as_owner(database_url), "UPDATE syncs SET next_attempt_at = %s::timestamptz", at)
        assert OverviewStore(pool).counts().oldest_due_seconds >= 0


@pytest.fixture
def ada(database_url: str, broker_url: str) -> Iterator[httpx.Client]:
    with console_on(database_url, broker_url) as client:
        assert sign_in(client, "ada", PASSWORD).status_code == 303
        yield client


def test_every_page_of_the_console_is_shown(ada: httpx.Client, spoilt: tuple[UUID, UUID, UUID]) -> None:
    """Every console page shows the good rows and marks the unreadable values."""
    good, bad, letter = spoilt
    for path, mark, beside in (
        ("/", "", "sessions.get"),
        ("/?span=7d", "", "sessions.get"),
        ("/sessions", "cannot be read: user_id, status", str(good)),
        (f"/sessions/{bad}", "cannot be read: state, origin", "frozen"),
        (f"/sessions/{good}", "divine", "Searched for an existing ticket"),
        (f"/sessions/{bad}/draft", "cannot be read", ""),
        ("/syncs", "", str(good)),
        ("/dead", "", "sessions.get"),
        (f"/dead/{letter}", "cannot be read: state", "forged"),
        ("/audit", "cannot be read: action", "because"),
    ):
        answer = ada.get(f"/console{path}")
        assert answer.status_code == 200, path
        assert mark in answer.text, path
        assert beside in answer.text, path


def test_the_command_line_shows_every_list(
    process_env: dict[str, str], spoilt: tuple[UUID, UUID, UUID]
) -> None:
    """The command line lists all rows, marks unreadable values and escapes control characters."""
    _, bad, letter = spoilt
    expected = [
        (("sessions", "list"), 0, "frozen (cannot be read: user_id, status)"),
        (("syncs", "show", str(bad), "--draft"), 0, "bless (cannot be read: action)"),
        (("dead", "show", str(letter)), 0, "cannot be read"),
        (("audit", "list"), 0, "exorcise (cannot be read: action)"),
        (("dead", "discard", str(letter), "--reason", "no use"), 1, r"already parked by \x1b[2J"),
    ]
    as_json = ("syncs", "show", str(bad), "--json")
    for arguments, code, mark in expected:
        done = run_in(process_env, *arguments)
        said = done.stdout + done.stderr
        assert (done.returncode, "Traceback" in said) == (code, False), said
        assert mark in said
        assert not set(said) & {"\x1b", "\r", "\u202e"}, arguments
    shown = json.loads(output(run_in(process_env, *as_json)))
    assert shown["sync"]["unreadable"] == ["state", "origin"]
    assert [attempt.get("unreadable") for attempt in shown["attempts"]] == [None, ["step"]]


def test_any_moment_is_listed(pool: Pool, database_url: str, ada: httpx.Client) -> None:
    """A dead letter with any moments is listed, shown, and found in the paged audit trail."""
    store, owner = OverviewStore(pool), as_owner(database_url)
    for at in MOMENTS:
        letters = {buried(pool, number) for number in range(1, 4)}
        ask(
            owner,
            "UPDATE dead_letters SET first_attempt_at = %s::timestamptz, died_at = %s::timestamptz",
            at,
            at,
        )
        assert {letter.id for letter in DeadLetterStore(pool).list_by_state("dead")} == letters
        for path in ("/", "/dead", *(f"/dead/{letter}" for letter in letters)):
            assert ada.get(f"/console{path}").status_code == 200, (at, path)
        ask(
            owner,
            "UPDATE dead_letters SET state = 'retried', actor = 'a', reason = 'b',"
            " settled_at = %s::timestamptz",
            at,
        )
        cursor, found = None, set()
        for _ in letters:
            (decision,) = store.decisions(1, cursor)
            cursor = decision.cursor
            found.add(decision.dead_letter_id)
        assert found == letters, at
        ask(owner, "DELETE FROM dead_letters")


STRANGE_ARGUMENTS = (
    f'{{"args": [], "kwargs": {{"deep": {DEEP}}}}}',
    '{"args": [], "kwargs": {"deep": %s}}' % ("[" * 900 + "]" * 900),
    '{"args": [], "kwargs": {"number": %s}}' % ("9" * 5_000),
    '{"args": [], "kwargs": {"number": 1e999, "half": "\\ud800", "nul": "\\u0000"}}',
    '{"args": {}, "kwargs": []}',
    "null",
)


def test_a_letter_is_sent_again_or_refused(pool: Pool, process_env: dict[str, str]) -> None:
    """A dead letter with strange arguments is sent again, or refused with a sentence and left open."""
    letters = [buried(pool, number, arguments) for number, arguments in enumerate(STRANGE_ARGUMENTS)]
    for letter in letters:
        done = run_in(process_env, "dead", "retry", str(letter), "--reason", "again")
        said = done.stdout + done.stderr
        assert "Traceback" not in said
        assert ("Sent sessions.get again" in said) or ("cannot be sent again" in said)
        state = DeadLetterStore(pool).get(letter).state
        assert state == ("retried" if done.returncode == 0 else "dead")
