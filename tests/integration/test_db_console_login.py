"""The console's login, which reads what the console shows and changes rows only through functions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import CheckViolation
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.support.servers import PostgresForTests, as_member, as_owner, ask
from threadsync.actors import NamedActor, SlackActor
from threadsync.errors import DatabaseFault, DeadLetterNotFound, InvalidCommand
from threadsync.sessions import SessionResult
from threadsync.syncs import Draft
from worker.db import SessionStore
from worker.db.console_login.functions import STATEMENTS, ConsolePool
from worker.db.dead_letters.letter import Letter
from worker.db.dead_letters.store import DeadLetterStore
from worker.db.forgetting.store import ForgetStore, What
from worker.db.migrate import migrate
from worker.db.overview.store import OverviewStore
from worker.db.pool import Pool, new_pool
from worker.db.roles import CONSOLE, create_login
from worker.db.syncs.store import SyncStore
from worker.operate import decisions
from worker.operate.decisions import signature

A_STATEMENT = (
    "SELECT %(acted_by)s::jsonb AS acted_by, %(actor)s::text AS actor, %(reason)s::text AS reason, "
    "%(session_id)s::uuid AS session_id, %(now)s::timestamptz AS now"
)
AS_BLOCKED: Final = (
    "UPDATE syncs SET state = 'blocked', reason = 'auth', next_attempt_at = NULL, queued_until = NULL"
)
DENIED = psycopg.errors.InsufficientPrivilege
BY = signature("Ann", "mended")
LOGIN = "threadsync_console_login"


@pytest.fixture
def console_url(database_url: str) -> str:
    return as_member(database_url, CONSOLE)


@pytest.fixture
def console(console_url: str) -> Iterator[Pool]:
    """Open a pool as the console's app does, with the console's login."""
    with new_pool(console_url, max_size=2, kind=ConsolePool) as pool:
        yield pool


@pytest.fixture
def blocked(pool: Pool) -> SessionResult:
    """Create a session whose sync is blocked."""
    store = SessionStore(pool)
    session = store.get_or_create_session("C1", "1700000000.000100", "U1")
    store.request_sync("C1", "1700000000.000100", Draft(summary="x", description="y"), "1700000000.000100")
    with pool.connection() as connection:
        connection.execute(AS_BLOCKED)
    return session


def as_blocked(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(AS_BLOCKED)


FORBIDDEN = (
    "UPDATE syncs SET state = 'done'",
    "UPDATE thread_sessions SET jira_key = 'PROJ-1', status = 'synced'",
    "UPDATE thread_sessions SET user_id = 'U2'",
    "INSERT INTO thread_sessions (channel_id, thread_ts, user_id) VALUES ('C1', '1.1', 'U1')",
    "INSERT INTO session_actions (session_id, action, actor, reason) "
    "SELECT id, 'link', 'x', 'x' FROM thread_sessions",
    "UPDATE sync_actions SET actor = 'Bob'",
    "DELETE FROM sync_actions",
    "TRUNCATE sync_actions",
    "UPDATE session_actions SET reason = ''",
    "DELETE FROM session_actions",
    "DELETE FROM installation_actions",
    "UPDATE session_acts SET actor = '{}'",
    "INSERT INTO session_acts (command_id, session_id, act, jira_key, outcome, actor) "
    "SELECT gen_random_uuid(), id, 'link', 'PROJ-1', 'applied', '{}' FROM thread_sessions",
    "DELETE FROM session_acts",
    "INSERT INTO forget_acts (what, actor, reason) VALUES ('user', 'x', 'x')",
    "DELETE FROM forget_acts",
    "SELECT * FROM forgotten_people",
    "SELECT threadsync_retain(0, 0, 0, 100)",
    "SELECT threadsync_forget_settled()",
    "SELECT * FROM threadsync_act('link', 'C1', '1700000000.000100', 'PROJ-1', NULL, gen_random_uuid(), "
    "'{}', 'x', NULL)",
    "UPDATE dead_letters SET actor = 'Bob'",
    "DELETE FROM dead_letters",
    "UPDATE installation SET id = gen_random_uuid()",
    "SELECT * FROM channel_context",
    "SELECT * FROM channel_context_commands",
    "ALTER TABLE sync_actions DISABLE TRIGGER ALL",
    "SET session_replication_role = 'replica'",
    "SET ROLE threadsync_run",
    "SET SESSION AUTHORIZATION threadsync_run_login",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TABLE mine ()",
)


def test_it_may_not_change_what_stands_there(console_url: str, blocked: SessionResult) -> None:
    """The console's login may change no table directly and read none that the console does not show."""
    for statement in FORBIDDEN:
        with psycopg.connect(console_url) as connection, pytest.raises(DENIED):
            connection.execute(statement.encode())


def test_its_acts_say_the_login_the_way_in_and_the_servers_time(
    console: Pool, pool: Pool, blocked: SessionResult, database_url: str
) -> None:
    """A console decision is recorded with the console's login, `console` and the server's time."""
    decisions.retry(console, blocked, BY)
    SyncStore(console, clock=lambda: datetime(2001, 1, 1, tzinfo=UTC)).give_up(
        blocked.id, actor="Ann", reason="r"
    )
    letter = bury(pool)
    decisions.discard(console, letter, BY)
    rows = rows_of(database_url, "SELECT action, actor, via, login, at FROM sync_actions ORDER BY id")
    assert [(row["action"], row["actor"], row["via"], row["login"]) for row in rows] == [
        ("retry", "Ann", "console", LOGIN),
        ("give_up", "Ann", "console", LOGIN),
    ]
    [settled] = rows_of(
        database_url, "SELECT settled_via AS via, settled_login AS login, settled_at AS at FROM dead_letters"
    )
    assert (settled["via"], settled["login"]) == ("console", LOGIN)
    trail = OverviewStore(console).decisions(10)
    assert {(decision.via, decision.login) for decision in trail} == {("console", LOGIN)}
    for row in (*rows, settled):
        assert abs(row["at"] - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_workers_acts_say_its_login(pool: Pool, blocked: SessionResult, database_url: str) -> None:
    """A decision by a worker's login is recorded with that login and the place that it claims."""
    decisions.retry(pool, blocked, signature("Ann", "mended", "cli"))
    decisions.give_up(pool, blocked, signature("Ann", "mended", "api"))
    rows = rows_of(database_url, "SELECT via, login FROM sync_actions ORDER BY id")
    assert [(row["via"], row["login"]) for row in rows] == [
        ("cli", "threadsync_run_login"),
        ("api", "threadsync_run_login"),
    ]


def test_an_act_of_a_slack_user_is_a_workers_to_record(
    pool: Pool, blocked: SessionResult, console: Pool, database_url: str
) -> None:
    """A worker may record an act of a Slack user; the console's login may not."""
    person = SlackActor(user_id="U1", team_id="T1")
    SessionStore(pool).link("C1", "1700000000.000100", "PROJ-1", person, uuid4(), None)
    [row] = rows_of(database_url, "SELECT via, login FROM session_acts")
    assert (row["via"], row["login"]) == ("slack", "threadsync_run_login")
    with pytest.raises(DatabaseFault):
        SessionStore(console).unlink("C1", "1700000000.000100", "PROJ-1", person, "x", uuid4())
    assert ask(database_url, "SELECT count(*) FROM session_acts") == 1


def test_another_way_in_is_not_believed(console: Pool, blocked: SessionResult, database_url: str) -> None:
    """A claim of another place than the console is recorded as `console`, beside the act too."""
    decisions.retry(console, blocked, signature("Ann", "mended", "cli", "10.0.0.1"))
    decisions.link(console, blocked, "PROJ-1", signature("Ann", "mended", "api"))
    [retried] = rows_of(database_url, "SELECT via, acted_by FROM sync_actions")
    [linked] = rows_of(database_url, "SELECT via, actor AS acted_by FROM session_acts")
    for row in (retried, linked):
        assert (row["via"], row["acted_by"]["via"], row["acted_by"]["name"]) == ("console", "console", "Ann")
    assert retried["acted_by"]["address"] == "10.0.0.1"


ODD_CLAIMS: Final[tuple[tuple[Any, str, str], ...]] = (
    ({"user_id": "U1", "team_id": "T1"}, "Ann", "x"),
    ({"user_id": None, "name": "Ann"}, "Ann", "x"),
    ([{"user_id": "U1", "team_id": "T1"}], "Ann", "x"),
    ("U1", "Ann", "x"),
    ({"via": "cli"}, "Ann", "x"),
    ({"name": " "}, "Ann", "x"),
    ({"name": "x" * 201}, "Ann", "x"),
    (None, "", "x"),
    (None, "x" * 201, "x"),
    ({"name": "Ann"}, "Ann", "x" * 2_001),
)
"""Claim, name and reason, as a program with the console's login may give them."""


def test_odd_claims_are_refused(console_url: str, blocked: SessionResult, database_url: str) -> None:
    """A claim that names a Slack user, lacks a name or is too long is refused, and nothing is recorded."""
    for claim, actor, reason in ODD_CLAIMS:
        given = [None if claim is None else Jsonb(claim), actor, reason, blocked.id]
        with psycopg.connect(console_url) as connection, pytest.raises((DENIED, CheckViolation)):
            connection.execute("SELECT * FROM threadsync_console_retry(%s, %s, %s, %s)", given)
    assert ask(database_url, "SELECT count(*) FROM sync_actions") == 0


def test_no_name_is_taken_for_a_user_of_slack(
    console_url: str, console: Pool, blocked: SessionResult, database_url: str
) -> None:
    """A name in the form of a Slack user is recorded as a name that was given in the console."""
    others = {"name": "U1 of T1 in Slack", "via": "api", "team_id": "T1", "address": "10.0.0.1 x"}
    with psycopg.connect(console_url, autocommit=True) as connection:
        for claim, actor in ((None, "U1 of T1 in Slack"), (Jsonb(others), "U1")):
            given = [claim, actor, "x", blocked.id]
            connection.execute("SELECT * FROM threadsync_console_retry(%s, %s, %s, %s)", given)
            as_blocked(database_url)
    for decision in OverviewStore(console).decisions(10):
        assert (decision.by, decision.actor) == ("U1 of T1 in Slack (console)", "U1 of T1 in Slack")


def test_its_time_is_not_that_of_a_transaction_that_waited(console_url: str, blocked: SessionResult) -> None:
    """An act's time is the time of the call, not the start of its transaction."""
    with psycopg.connect(console_url) as connection:
        connection.execute("SELECT * FROM threadsync_console_retry(NULL, 'Ann', 'x', %s)", [blocked.id])
        late = connection.execute("SELECT at > now() FROM sync_actions").fetchone()
    assert late == (True,)


def test_a_login_that_must_take_the_role_first_is_the_consoles(
    postgres: PostgresForTests, console_url: str, blocked: SessionResult, database_url: str
) -> None:
    """A login that reaches the console's role by SET ROLE is bound by the same rules, under its own name."""
    administrator, name = postgres.for_administrator(console_url), "threadsync_roundabout"
    with psycopg.connect(administrator, autocommit=True) as connection:
        create_login(connection, name, "of-this-test", CONSOLE)
        connection.execute("GRANT threadsync_console TO threadsync_roundabout WITH INHERIT FALSE")
        try:
            parts = urlsplit(console_url)
            host = parts.netloc.rpartition("@")[2]
            url = urlunsplit(parts._replace(netloc=f"{name}:of-this-test@{host}"))
            with psycopg.connect(url, autocommit=True) as roundabout:
                roundabout.execute("SET ROLE threadsync_console")
                call = "SELECT * FROM threadsync_console_retry(%s, 'Ann', 'x', %s)"
                with pytest.raises(DENIED):
                    roundabout.execute(call, [Jsonb({"user_id": "U1", "team_id": "T1"}), blocked.id])
                roundabout.execute(call, [Jsonb({"name": "Ann", "via": "cli"}), blocked.id])
        finally:
            connection.execute("DROP ROLE threadsync_roundabout")
    [row] = rows_of(database_url, "SELECT via, login FROM sync_actions")
    assert row == {"via": "console", "login": name}


def test_the_session_says_the_same_as_the_record(
    console: Pool, blocked: SessionResult, database_url: str
) -> None:
    """The session's own record of a link says `console` too, and a ticket id that is given is not stored."""
    by = NamedActor(name="Ann", via="api")
    SessionStore(console).link("C1", "1700000000.000100", "PROJ-1", by, uuid4(), "x", jira_id="99999")
    [row] = rows_of(database_url, "SELECT synced_by FROM thread_sessions")
    assert row["synced_by"] == {"name": "Ann", "via": "console"}
    assert ask(database_url, "SELECT jira_id FROM session_acts") is None
    assert ask(database_url, "SELECT jira_id FROM syncs") is None


def test_it_forgets_by_an_act_of_its_own_alone(
    console: Pool, pool: Pool, blocked: SessionResult, database_url: str
) -> None:
    """The console's login forgets only by a recent act of its own that names what is forgotten."""
    forgets, by = ForgetStore(console), dict[str, Any](actor="Ann", reason="asked for")
    thread, channel = "C1 / 1700000000.000100", "C1"
    another = SessionStore(pool).get_or_create_session("C2", "1700000000.000100", "U1")
    a_workers = ForgetStore(pool).begin("user", None, **by)
    old = forgets.begin("user", None, **by)
    with psycopg.connect(as_owner(database_url)) as connection:
        connection.execute("UPDATE forget_acts SET at = at - interval '2 hours' WHERE id = %s", [old])
    decisions.retry(console, blocked, BY)
    for act in (a_workers, old, forgets.begin("thread", thread, **by), uuid4()):
        with pytest.raises(DatabaseFault):
            forgets.forget_named(act, "U9", ["Ann"])
        with pytest.raises(DatabaseFault):
            forgets.forget_channel(act, channel)
    others: tuple[tuple[What, str | None], ...] = (
        ("thread", "C1 / 1700000000.000200"),
        ("channel", "C3"),
        ("user", None),
    )
    for what, subject in others:
        with pytest.raises(DatabaseFault):
            forgets.forget_sessions(forgets.begin(what, subject, **by), [blocked.id])
    with pytest.raises(DatabaseFault):
        forgets.forget_sessions(forgets.begin("thread", thread, **by), [blocked.id, another.id])
    with pytest.raises(InvalidCommand):
        forgets.begin("thread", "words of a person", **by)
    with pytest.raises(InvalidCommand):
        forgets.begin("user", "U1", **by)
    assert ask(database_url, "SELECT actor FROM sync_actions") == "Ann"
    assert channel in forgets.forget_channel(forgets.begin("channel", channel, **by), channel)
    assert forgets.forget_sessions(forgets.begin("channel", channel, **by), [blocked.id]) == 0
    assert forgets.forget_named(forgets.begin("user", None, **by), "U9", ["Ann"]) > 0
    assert ask(database_url, "SELECT actor FROM sync_actions") == "forgotten"
    assert ask(database_url, "SELECT login FROM sync_actions") == LOGIN


def test_every_decision_is_taken_by_functions(console: Pool, pool: Pool, blocked: SessionResult) -> None:
    """All decisions that the console's forms offer work with the console's login."""
    assert decisions.retry_all_blocked(console, BY) == [blocked.id]
    assert decisions.give_up(console, blocked, BY)[0].state == "failed"
    assert decisions.retry(console, blocked, BY)[0].state == "pending"
    linked, _ = decisions.link(console, blocked, "PROJ-1", BY)
    assert (linked.outcome, linked.jira_key) == ("applied", "PROJ-1")
    assert decisions.unlink(console, linked, BY)[0].jira_key is None
    store = ForgetStore(console)
    act = store.begin("thread", "C1 / 1700000000.000100", actor="Ann", reason="asked for")
    assert store.forget_sessions(act, [blocked.id]) == 0
    assert (list(store.letters()), store.openings()) == ([], [])
    settled = decisions.discard(console, bury(pool), BY)
    assert (settled.state, settled.actor, settled.reason) == ("discarded", "Ann", "mended")


def test_a_settled_letter_stays_as_it_is(console: Pool, pool: Pool) -> None:
    """A settled dead letter keeps its first actor and reason; a second settling is refused."""
    letter = bury(pool)
    store = DeadLetterStore(console)
    store.settle(letter, "discarded", actor="Ann", reason="first")
    with pytest.raises(DeadLetterNotFound, match="Ann: first"):
        store.settle(letter, "discarded", actor="Bob", reason="second")


def test_a_function_uses_our_tables_whatever_the_callers_search_path(
    console_url: str, blocked: SessionResult, database_url: str
) -> None:
    """The console's functions use our tables even when the caller has temporary ones of the same name."""
    with psycopg.connect(console_url, autocommit=True) as connection:
        connection.execute("CREATE TEMPORARY TABLE syncs (session_id uuid)")
        connection.execute("CREATE TEMPORARY TABLE sync_actions (id int)")
        connection.execute("SET search_path = pg_temp, public")
        call = "SELECT * FROM public.threadsync_console_retry(NULL, 'Ann', 'why', %s)"
        assert connection.execute(call, [blocked.id]).fetchall() == [(blocked.id,)]
    assert ask(database_url, "SELECT count(*) FROM sync_actions") == 1


def test_only_those_who_may_can_call(postgres: PostgresForTests, database_url: str) -> None:
    """The console's role alone may execute the console's functions, each of which fixes its search_path."""
    with psycopg.connect(as_owner(database_url)) as connection:
        found = connection.execute(
            "SELECT proname, prosecdef, proconfig::text, "
            "has_function_privilege('threadsync_read', oid, 'EXECUTE'), "
            "has_function_privilege('threadsync_console', oid, 'EXECUTE') "
            "FROM pg_proc WHERE proname LIKE 'threadsync_console_%'"
        ).fetchall()
    assert {name for name, *_ in found} == {f"threadsync_console_{name}" for name in STATEMENTS}
    for _, as_owner_of_tables, settings, reader, console in found:
        assert (as_owner_of_tables, reader, console) == (True, False, True)
        assert "search_path=" in settings
        assert settings.rstrip('"}').endswith("pg_temp")


def test_a_function_follows_its_statement(
    database_url: str, monkeypatch: pytest.MonkeyPatch, console_url: str
) -> None:
    """A function whose statement returns other columns is replaced by the next migration."""
    changed: Any = {**STATEMENTS, "give_up": A_STATEMENT}
    call = "SELECT * FROM threadsync_console_give_up('{}', 'a', 'b', gen_random_uuid())"
    with psycopg.connect(as_owner(database_url), autocommit=True) as connection:
        for statements, columns in ((STATEMENTS, 1), (changed, 5), (STATEMENTS, 1)):
            monkeypatch.setattr("worker.db.console_login.functions.STATEMENTS", statements)
            migrate(connection)
            migrate(connection)
            with psycopg.connect(console_url) as console:
                assert len(console.execute(call.encode()).description or ()) == columns


def bury(pool: Pool) -> Any:
    return DeadLetterStore(pool).bury(
        Letter(
            task_id="t1",
            task_name="sessions.get",
            queue="sessions",
            error=ValueError("x"),
            attempts=1,
            arguments="{}",
        )
    )


def rows_of(url: str, sql: str) -> list[dict[str, Any]]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(sql.encode()).fetchall()
