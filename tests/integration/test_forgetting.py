"""Forgetting: no erased text in any table, none that comes back, and no second ticket."""

from __future__ import annotations

import base64
import gzip
import json
from time import monotonic
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.support.endings import state_after
from tests.support.forgetting import CHANNEL, DRAFT, LATER, OTHER, PERSON, THREAD, begun, dump
from tests.support.servers import PostgresForTests, as_owner, ask
from threadsync.actors import NamedActor, SlackActor
from threadsync.channel_settings.resolution import Defaults, Sourced
from threadsync.config import get_settings
from threadsync.errors import CommandFailed, DatabaseFault, InvalidCommand
from threadsync.syncs import Draft
from worker.cli.forget import session_of
from worker.db import AsyncSessionStore, SessionStore
from worker.db.console_login.sessions import ConsoleSession, ConsoleSessionStore
from worker.db.dead_letters.letter import Letter
from worker.db.dead_letters.store import DeadLetterStore
from worker.db.forgetting import arrivals
from worker.db.forgetting.arrivals import NO_WORDS, Redaction
from worker.db.forgetting.columns import OF_NOBODY, OF_PEOPLE
from worker.db.forgetting.store import ForgetStore
from worker.db.migrate import migrate
from worker.db.pool import Pool, close_db, new_pool
from worker.db.roles import create_roles
from worker.db.syncs.claim import Ending
from worker.db.syncs.store import SyncStore
from worker.operate.forgetting.letters import Sought

TEXT_COLUMNS: Final = """
SELECT c.table_name::text, c.column_name::text FROM information_schema.columns c
JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE'
  AND c.data_type NOT IN ('uuid', 'integer', 'bigint', 'boolean', 'numeric', 'double precision',
                          'timestamp with time zone')
"""


@pytest.fixture
def forgets(pool: Pool) -> ForgetStore:
    return ForgetStore(pool)


def asked_for(store: SessionStore, user: str = PERSON, thread_ts: str = THREAD) -> UUID:
    """Create a session of the person with a requested ticket, and return its id."""
    session = store.get_or_create_session(CHANNEL, thread_ts, user)
    store.request_sync(CHANNEL, thread_ts, DRAFT, LATER)
    return session.id


def claimed(pool: Pool, session_id: UUID) -> Any:
    claim = SyncStore(pool).claim(session_id, site="jira", lease=60)
    assert claim is not None
    return claim


def begins(syncs: SyncStore, claim: Any) -> bool:
    """Return True if a create may be sent."""
    where: Any = {
        "site": "jira",
        "project_key": "PROJ",
        "defaults": Defaults(Sourced("PROJ", "settings"), Sourced("Task", "settings")),
        "baseline": 1,
    }
    return syncs.begin_create(claim, **where, at_once=1, deadline=10, turn=10, lease=60) is not None


def in_flight(pool: Pool, session_id: UUID) -> Any:
    """Begin the sync's create, and return its claim."""
    claim = claimed(pool, session_id)
    assert begins(SyncStore(pool), claim)
    return claim


def test_every_column_with_text_is_declared(database_url: str) -> None:
    """Every column with text is declared as one with people's text or as one without."""
    with psycopg.connect(as_owner(database_url)) as connection:
        there = set(connection.execute(TEXT_COLUMNS).fetchall())
    of_people = {(column.table, column.name) for column in OF_PEOPLE}
    of_nobody = {(table, name) for table, columns in OF_NOBODY.items() for name in columns}
    assert not of_people & of_nobody
    assert there == of_people | of_nobody


async def test_a_forgotten_thread_is_its_own_tombstone(
    any_store: AsyncSessionStore, pool: Pool, database_url: str
) -> None:
    """A forgotten thread keeps id, thread and marker, and every command on it is stale and writes nothing."""
    session = await any_store.get_or_create_session(CHANNEL, THREAD, PERSON)
    await any_store.request_sync(CHANNEL, THREAD, DRAFT, LATER)
    SyncStore(pool).finish(claimed(pool, session.id), Ending("blocked", "search", None, reason="no_project"))
    forgets = ForgetStore(pool)
    assert forgets.forget_sessions(begun(forgets), [session.id]) == 0
    before = dump(database_url)
    assert "ocelot" not in before.lower()
    assert "slk-" in before
    found = await any_store.get_or_create_session(CHANNEL, THREAD, PERSON)
    assert (found.id, found.user_id, found.outcome) == (session.id, "forgotten", "stale")
    assert (await any_store.update_status(CHANNEL, THREAD, "ready_to_sync")).outcome == "stale"
    assert (await any_store.update_status(CHANNEL, THREAD, "collecting")).outcome == "stale"
    assert (await any_store.request_sync(CHANNEL, THREAD, DRAFT, "1790000000.000100")).outcome == "stale"
    assert (await any_store.mark_synced(CHANNEL, THREAD, "PROJ-9")).outcome == "stale"
    syncs = SyncStore(pool)
    assert not syncs.retry(session.id, actor="ann", reason="ocelot")
    assert not syncs.give_up(session.id, actor="ann", reason="ocelot")
    assert syncs.take_due(most=10, for_seconds=1) == []
    assert dump(database_url) == before


def test_one_that_has_a_ticket_keeps_its_key(store: SessionStore, forgets: ForgetStore) -> None:
    """A forgotten session keeps its ticket, and no other ticket replaces it."""
    session = store.get_or_create_session(CHANNEL, THREAD, PERSON)
    store.mark_synced(CHANNEL, THREAD, "PROJ-1")
    forgets.forget_sessions(begun(forgets), [session.id])
    assert store.mark_synced(CHANNEL, THREAD, "PROJ-2").jira_key == "PROJ-1"
    found = store.get_session(session.id)
    assert found is not None
    assert (found.jira_key, found.status, found.user_id) == ("PROJ-1", "synced", "forgotten")


def test_what_a_step_under_way_writes_is_lost(store: SessionStore, pool: Pool, forgets: ForgetStore) -> None:
    """A step in progress writes nothing to a sync that was forgotten meanwhile."""
    session_id = asked_for(store)
    claim = claimed(pool, session_id)
    forgets.forget_sessions(begun(forgets), [session_id])
    ending = Ending("failed", "search", "rejected", reason="draft_refused", detail="ocelot is not wanted")
    assert SyncStore(pool).finish(claim, ending) is None


def test_a_sync_in_doubt_is_settled_first(
    store: SessionStore, pool: Pool, forgets: ForgetStore, database_url: str
) -> None:
    """A sync in doubt is settled before the rest is forgotten, and its session gets the ticket."""
    session_id = asked_for(store)
    claim = in_flight(pool, session_id)
    assert forgets.forget_sessions(begun(forgets), [session_id]) == 1
    assert forgets.forget_settled() == 0
    assert store.request_sync(CHANNEL, THREAD, DRAFT, "1790000000.000100").outcome == "stale"
    unclear = Ending("unknown", "create", "unknown", reason="no_answer", detail="ocelot?", number=1, delay=0)
    assert state_after(SyncStore(pool), claim, unclear) == "unknown"
    assert forgets.forget_sessions(begun(forgets), [session_id]) == 1
    found = Ending(
        *("done", "look", "found"), jira_id="7", jira_key="PROJ-7", origin="found", detail="ocelot!"
    )
    assert state_after(SyncStore(pool), claimed(pool, session_id), found) == "done"
    assert forgets.forget_settled() == 1
    assert "ocelot" not in dump(database_url).lower()
    session = store.get_session(session_id)
    assert session is not None
    assert session.jira_key == "PROJ-7"
    assert SyncStore(pool).take_due(most=10, for_seconds=1) == []


def test_after_a_doubt_that_came_to_nothing_no_ticket_is_made(
    store: SessionStore, pool: Pool, forgets: ForgetStore
) -> None:
    """A forgotten sync whose create made no ticket makes no other one, and fails as forgotten."""
    session_id = asked_for(store)
    claim = in_flight(pool, session_id)
    assert forgets.forget_sessions(begun(forgets), [session_id]) == 1
    again = Ending("pending", "create", "not_sent", reason=None, number=1, delay=0)
    assert state_after(SyncStore(pool), claim, again) == "pending"
    syncs, other = SyncStore(pool), claimed(pool, session_id)
    assert not begins(syncs, other)
    assert forgets.forget_settled() == 1
    state = syncs.get_state(session_id)
    assert state is not None
    assert (state.state, state.reason) == ("failed", "forgotten")


def test_two_ids_of_one_channel_are_forgotten_together(
    store: SessionStore, pool: Pool, forgets: ForgetStore, database_url: str
) -> None:
    """A session that turns out to be the same thread as a forgotten one is forgotten with it."""
    for forgotten, kept in ((CHANNEL, "C0NEW"), ("C1NEW", "C1OLD")):
        first = store.get_or_create_session(forgotten, THREAD, PERSON)
        forgets.forget_sessions(begun(forgets), [first.id])
        store.get_or_create_session(kept, THREAD, PERSON)
        store.request_sync(kept, THREAD, DRAFT, LATER)
        store.channel_moved(min(forgotten, kept), max(forgotten, kept))
        assert store.get_or_create_session(forgotten, THREAD, PERSON).outcome == "stale"
        assert store.get_or_create_session(kept, THREAD, PERSON).outcome == "stale"
    assert "ocelot" not in dump(database_url).lower()
    assert SyncStore(pool).take_due(most=10, for_seconds=1) == []


def test_a_forgotten_channel(store: SessionStore, forgets: ForgetStore, database_url: str) -> None:
    """A channel is forgotten under both its ids: older threads are stale, later ones are created."""
    first, patch = asked_for(store), uuid4()
    store.merge_channel_context(CHANNEL, {"topic": "ocelot"}, patch)
    store.channel_moved(CHANNEL, "C0NEW")
    act = begun(forgets, "channel")
    ids = forgets.forget_channel(act, "C0NEW")
    assert set(ids) == {CHANNEL, "C0NEW"}
    for page in forgets.sessions_of(ids):
        assert page == [first]
        forgets.forget_sessions(act, page)
    for command_id in (patch, uuid4()):
        merged = store.merge_channel_context("C0NEW", {"topic": "ocelot"}, command_id)
        assert (merged.outcome, merged.context_data) == ("stale", {})
    late = store.get_or_create_session("C0NEW", "1700000005.000100", PERSON)
    assert (late.outcome, late.user_id) == ("stale", "forgotten")
    assert store.request_sync(CHANNEL, "1700000005.000100", DRAFT, LATER).outcome == "stale"
    assert "ocelot" not in dump(database_url).lower()
    assert store.get_or_create_session("C0NEW", "4000000000.000100", OTHER).outcome == "created"


def test_a_forgotten_person(store: SessionStore, pool: Pool, forgets: ForgetStore, database_url: str) -> None:
    """A forgotten person is removed from all sessions, acts and texts; others' words and all tickets stay."""
    asked_for(store)
    others = store.get_or_create_session(CHANNEL, "1700000001.000100", OTHER)
    words = Draft(summary="Ask Maya Lind or her boss", description=f"or <@{PERSON}>: (a+b) Maya Lindgren")
    store.request_sync(CHANNEL, "1700000001.000100", words, LATER)
    store.merge_channel_context(CHANNEL, {"owner": PERSON, PERSON: ['Maya "Lind"', "Maya Lind"]}, uuid4())
    assert SyncStore(pool).give_up(others.id, actor="Maya Lind", reason="I know it")
    assert SyncStore(pool).retry(others.id, actor="bob", reason=f"{PERSON.lower()} said so")
    consoles = ConsoleSessionStore(pool)
    consoles.begin(b"1" * 32, ConsoleSession("Maya Lind", "192.0.2.77"))
    consoles.begin(b"2" * 32, ConsoleSession("bob", "192.0.2.78"))
    act = begun(forgets, "user")
    assert forgets.forget_opened_by(act, PERSON) == (1, 0)
    assert forgets.forget_named(act, PERSON, ["Maya Lind", 'maya "lind"']) > 0
    after = dump(database_url)
    for canary in ("ocelot", "maya lind\\", "maya lind ", 'maya \\"lind', "i know it", "192.0.2.77"):
        assert canary not in after.lower()
    assert consoles.find(b"1" * 32) == ConsoleSession("forgotten", None)
    assert consoles.find(b"2" * 32) == ConsoleSession("bob", "192.0.2.78")
    draft = ask(as_owner(database_url), "SELECT draft FROM syncs WHERE session_id = %s", others.id)
    assert draft == {
        "summary": "Ask forgotten or her boss",
        "description": "or <@forgotten>: (a+b) Maya Lindgren",
        "labels": [],
    }
    decisions = SyncStore(pool).actions(others.id)
    assert [(each.actor, each.reason) for each in decisions] == [
        ("forgotten", "(forgotten)"),
        ("bob", "forgotten said so"),
    ]
    context = store.get_channel_context(CHANNEL)
    assert context is not None
    assert context.context_data == {"owner": "forgotten", "forgotten": ["forgotten", "forgotten"]}


def test_drafts_of_before_bring_nothing_back(
    store: SessionStore, forgets: ForgetStore, database_url: str
) -> None:
    """A repeated older draft is stale, a first one applied without its text, a later one applied as it is."""
    session_id = asked_for(store)
    waiting = store.get_or_create_session(CHANNEL, "1700000002.000100", PERSON)
    forgets.forget_opened_by(begun(forgets, "user"), PERSON)
    assert store.request_sync(CHANNEL, THREAD, DRAFT, LATER).outcome == "stale"
    assert store.request_sync(CHANNEL, waiting.thread_ts, DRAFT, LATER).outcome == "applied"
    assert store.request_sync(CHANNEL, waiting.thread_ts, DRAFT, LATER).outcome == "stale"
    assert "ocelot" not in dump(database_url).lower()
    now = ask(database_url, "SELECT to_char(extract(epoch FROM now()) + 60, 'FM9999999999.000000')")
    assert store.request_sync(CHANNEL, THREAD, Draft(summary="anew"), str(now)).outcome == "applied"
    assert store.get_session(session_id) is not None


def test_messages_on_their_way_are_redacted(
    store: SessionStore, forgets: ForgetStore, database_url: str
) -> None:
    """Arguments in messages on their way lose the forgotten id, which is not stored in the database."""
    act = begun(forgets, "user")
    forgets.expect_person(act, PERSON)
    known = Redaction(forgets.people())
    thread = {"channel_id": CHANNEL, "thread_ts": THREAD}
    asks = {**thread, "draft": {"summary": f"{PERSON} asks", "project_key": "PROJ"}}
    assert known.arguments({**thread, "user_id": PERSON}) == {**thread, "user_id": "forgotten"}
    theirs = known.arguments({**asks, "actor": {"user_id": PERSON, "team_id": "T1"}})
    assert theirs["draft"] == {"summary": NO_WORDS, "project_key": "PROJ"}
    assert theirs["actor"] == {"user_id": "forgotten", "team_id": "T1"}
    others = known.arguments({**asks, "actor": {"user_id": OTHER}})
    assert others["draft"]["summary"] == "forgotten asks"
    assert known.arguments({**asks, "actor": {"user_id": OTHER}, "user_id": OTHER})["user_id"] == OTHER
    found = store.get_or_create_session(CHANNEL, THREAD, PERSON)
    assert (found.user_id, found.outcome) == ("forgotten", "created")
    assert PERSON.encode().hex() not in dump(database_url)


def test_letters_of_before_are_not_buried_again(
    store: SessionStore, pool: Pool, forgets: ForgetStore, database_url: str
) -> None:
    """A dead letter that is buried again after a person was forgotten has none of the person's words."""
    asked_for(store)
    letters, act = DeadLetterStore(pool), begun(forgets, "user")
    forgets.expect_person(act, PERSON)
    forgets.forget_opened_by(act, PERSON)
    about = {"channel_id": CHANNEL, "thread_ts": THREAD, "draft": "an ocelot"}
    named = {"user_id": PERSON, "channel_id": "C0ELSE"}
    packed = base64.b64encode(gzip.compress(f"an ocelot {PERSON} {'x' * 50}".encode()))
    written = [
        {"arguments": json.dumps({"args": [], "kwargs": about})},
        {"arguments": json.dumps({"args": [PERSON], "kwargs": named})},
        {"body": f"{PERSON} is no JSON".encode()},
        {"body": json.dumps({"body": packed.decode()}).encode()},
    ]
    for number, content in enumerate(written):
        told = {"task_id": f"{PERSON}-{number}", "task_name": "t", "queue": "q", "attempts": 1}
        said = "an ocelot" if number == 0 else f"{PERSON}: no"
        letters.bury(Letter(**told, **content, error=CommandFailed(said)))  # type: ignore[arg-type]
    assert len(letters.list_by_state()) == 4
    after = dump(database_url)
    assert "ocelot" not in after.lower()
    assert packed.decode() not in after


def test_letters_are_found_by_what_is_packed_in_them() -> None:
    """A dead letter is found by a word, thread or session inside base64, compression or escapes."""
    session = uuid4()
    body = json.dumps([[], {"user_id": PERSON, "session_id": str(session), "summary": "Ünal"}, {}]).encode()
    packed = json.dumps({"body": base64.b64encode(gzip.compress(body)).decode()}).encode()
    for letter in ({"body": packed}, {"arguments": body.decode()}, {"body": base64.b64encode(body)}):
        assert Sought(words=[PERSON]).is_in(letter)
        assert Sought(words=["ünal"]).is_in(letter)
        assert Sought(sessions=[session]).is_in(letter)
        assert not Sought(words=["U0OCELO", "OCELOT"], sessions=[uuid4()], channels=["C1"]).is_in(letter)
    thread = json.dumps({"args": [], "kwargs": {"channel_id": CHANNEL, "thread_ts": THREAD}})
    assert Sought(threads=[(CHANNEL, THREAD)]).is_in({"arguments": thread})
    assert Sought(channels=[CHANNEL]).is_in({"arguments": thread})
    assert not Sought(threads=[(CHANNEL, "1.1")]).is_in({"arguments": thread})
    assert Sought(words=[PERSON]).is_in({"error": f"({PERSON})"})


def test_each_declared_column_is_looked_through(database_url: str) -> None:
    """The SQL function that removes a person's name searches every declared column."""
    asked = "SELECT prosrc FROM pg_proc WHERE proname = 'threadsync_forget_named'"
    source = str(ask(as_owner(database_url), asked))
    for column in OF_PEOPLE:
        if column.kind != "letter":
            update = source.partition(f"UPDATE {column.table} SET")[2].partition(";")[0]
            assert f"{column.name}::text ~* pattern" in update


def test_a_worker_forgets_by_the_functions_alone(database_url: str) -> None:
    """A worker may forget only through the functions, and only with a recorded act."""
    for statement in (
        "SELECT threadsync_make_tombstones('{}')",
        "SELECT threadsync_settle_forgotten('{}')",
        "SELECT threadsync_forget_sessions(uuidv7(), '{}')",
        "DELETE FROM forgotten_people",
        "UPDATE forget_acts SET reason = 'x'",
        "DELETE FROM dead_letters",
    ):
        with psycopg.connect(database_url) as connection, pytest.raises(psycopg.Error) as refused:
            connection.execute(statement.encode())
        assert isinstance(refused.value, psycopg.errors.InsufficientPrivilege | psycopg.errors.NoDataFound), (
            statement
        )


def test_the_functions_belong_to_a_role_that_can_nothing_else(database_url: str) -> None:
    """The functions' owner owns no table, and a caller's temporary table does not replace ours."""
    owners = ask(
        as_owner(database_url),
        "SELECT array_agg(DISTINCT proowner::regrole::text || array_to_string(proconfig, ' ')) FROM pg_proc "
        "WHERE prosecdef AND proname LIKE 'threadsync%%' AND proname NOT LIKE 'threadsync_console%%' AND %s",
        True,
    )
    assert owners == ["threadsync_forgetsearch_path=public, pg_temp"]
    tables = "SELECT count(*) FROM pg_tables WHERE tableowner = 'threadsync_forget'"
    assert ask(as_owner(database_url), tables) == 0
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TEMPORARY TABLE forget_acts (id uuid)")
        connection.execute("INSERT INTO pg_temp.forget_acts VALUES ('01900000-0000-7000-8000-000000000000')")
        with pytest.raises(psycopg.errors.NoDataFound):
            connection.execute(
                "SELECT threadsync_forget_sessions('01900000-0000-7000-8000-000000000000', '{}')"
            )


def test_what_is_too_old_goes_in_batches(
    store: SessionStore, pool: Pool, forgets: ForgetStore, database_url: str
) -> None:
    """Old drafts, dead letters and sessions are erased in batches; sessions with an open sync stay."""
    ends = [asked_for(store, thread_ts=f"1700000000.{number:06}") for number in range(4)]
    waits = asked_for(store, thread_ts="1700000001.000100")
    store.mark_synced(CHANNEL, "1700000000.000003", "PROJ-3")
    for session_id in ends[:3]:
        SyncStore(pool).give_up(session_id, actor="ann", reason="old")
    told: Any = {
        "task_name": "t",
        "queue": "q",
        "attempts": 1,
        "arguments": "{}",
        "error": CommandFailed("no"),
    }
    for number in range(3):
        DeadLetterStore(pool).bury(Letter(task_id=f"t{number}", **told))
    kept: Any = {"drafts_days": None, "letters_days": None, "sessions_days": None}
    every: Any = {"drafts_days": 9, "letters_days": 9, "sessions_days": 99}
    assert forgets.retain(**every, most=2).most == 0
    with psycopg.connect(as_owner(database_url)) as owner:
        for age in (
            "UPDATE syncs SET updated_at = now() - interval '10 days'",
            "UPDATE dead_letters SET died_at = now() - interval '10 days'",
            "UPDATE thread_sessions SET updated_at = now() - interval '10 days'",
        ):
            owner.execute(age.encode())
    assert forgets.retain(**kept, most=2).most == 0
    counts = [forgets.retain(**every, most=2) for _ in range(3)]
    assert [count.drafts for count in counts] == [2, 2, 0]
    assert [count.letters for count in counts] == [2, 1, 0]
    assert [count.sessions for count in counts] == [0, 0, 0]
    assert not SyncStore(pool).retry(ends[0], actor="ann", reason="again")
    assert dump(database_url).count("ocelot summary") == 1
    old = forgets.retain(drafts_days=None, letters_days=None, sessions_days=9, most=9)
    assert old.sessions == 4
    assert store.get_or_create_session(CHANNEL, "1700000000.000003", OTHER).outcome == "stale"
    found = store.get_session(ends[3])
    assert found is not None
    assert (found.jira_key, found.user_id) == ("PROJ-3", "forgotten")
    assert store.get_session(waits) is not None
    assert store.update_status(CHANNEL, "1700000001.000100", "ready_to_sync").outcome == "unchanged"


NAMES: Final = [
    ("Ünal", "ÜNAL and Ünals, ünal", "forgotten and Ünals, forgotten"),
    ("Bo", "Bob, bo. (Bo) Bo2 BO", "Bob, forgotten. (forgotten) Bo2 forgotten"),
    ("李明", "昨天李明说", "昨天forgotten说"),
    ("null", 'null and "null"', 'forgotten and "forgotten"'),
    ("a.b*c", "a.b*c axbbc", "forgotten axbbc"),
    ("back\\slash", "back\\slash", "forgotten"),
    ("[x]^$", "so [x]^$!", "so forgotten!"),
    ("Maya Lind", "Maya\nLind, maya\u00a0 lind: MayaLind", "forgotten, forgotten: MayaLind"),
    ("Maya  Lind", "one\nMaya Lind\r\n\tmaya\tlind", "one\nforgotten\r\n\tforgotten"),
    ("Nora", "\x0bNora\x0cnora\u2028Nora Honora", "\x0bforgotten\x0cforgotten\u2028forgotten Honora"),
    ("u1", "U12 (U1), <@u1|x> U1x xU1 _u1_", "U12 (forgotten), <@forgotten|x> U1x xU1 _forgotten_"),
]


def test_names_of_all_kinds(store: SessionStore, forgets: ForgetStore) -> None:
    """A name in any script, with any special characters, is redacted where it stands alone."""
    act = begun(forgets, "user")
    for number, (name, text, left) in enumerate(NAMES):
        store.merge_channel_context(f"C{number}", {"text": text, "nothing": [None, True]}, uuid4())
        forgets.forget_named(act, "U0NOBODY", [name])
        context = store.get_channel_context(f"C{number}")
        assert context is not None
        assert context.context_data == {"text": left, "nothing": [None, True]}
        assert Sought(words=[name]).is_named_in(text)
        assert not Sought(words=[name]).is_named_in(left)
        forgets.expect_person(act, name)
        known = Redaction(forgets.people())
        assert known.text(text) == left
        for told in (json.dumps({"text": f"so\n{text}"}), json.dumps({"text": text}, ensure_ascii=False)):
            for layer in (told, told[:-2]):
                assert Sought(words=[name]).is_in({"arguments": layer})
                assert known.finds_in(layer)


def test_a_first_request_that_was_on_its_way_has_no_words(
    store: SessionStore, forgets: ForgetStore, database_url: str
) -> None:
    """A first request of a forgotten person is applied without the person's words."""
    forgets.expect_person(begun(forgets, "user"), PERSON)
    assert store.get_or_create_session(CHANNEL, THREAD, PERSON.lower()).user_id == "forgotten"
    assert store.request_sync(CHANNEL, THREAD, DRAFT, LATER).outcome == "applied"
    assert store.get_or_create_session(CHANNEL, "1.1", "forgotten").outcome == "created"
    assert store.request_sync(CHANNEL, "1.1", DRAFT, LATER).outcome == "applied"
    assert "ocelot" not in dump(database_url).lower()


def test_threads_are_known_by_all_ids_of_their_channel(store: SessionStore, forgets: ForgetStore) -> None:
    """A session's threads are listed under all ids of its channel."""
    session = store.get_or_create_session(CHANNEL, THREAD, PERSON)
    store.channel_moved(CHANNEL, "C0NEW")
    everywhere = {(CHANNEL, THREAD), ("C0NEW", THREAD)}
    for threads in (forgets.threads_of(session.id), forgets.opened_by(PERSON)):
        assert {(thread.channel_id, thread.thread_ts) for thread in threads} == everywhere


def test_a_name_is_redacted_where_it_stands_alone(forgets: ForgetStore) -> None:
    """An operator's name is redacted as the actor of a command, together with the reason."""
    forgets.expect_person(begun(forgets, "user"), "Maya Ünal")
    known = Redaction(forgets.people())
    retry: dict[str, Any] = {"session_id": str(uuid4()), "actor": "maya Ünal", "reason": "ocelot"}
    assert known.arguments(retry) == {**retry, "actor": "forgotten", "reason": NO_WORDS}
    console = {"name": "Maya Ünal", "via": "console", "address": "10.0.0.7"}
    nobody = {"name": "forgotten", "via": "console"}
    assert known.arguments({**retry, "actor": console}) == {**retry, "actor": nobody, "reason": NO_WORDS}
    other = {**retry, "actor": {**console, "name": "ann"}}
    assert known.arguments(other) == other


def test_after_a_day_nothing_is_redacted_any_more(
    store: SessionStore, pool: Pool, forgets: ForgetStore, database_url: str
) -> None:
    """A day after the act the person's hash is deleted, and messages are kept as they are again."""
    act = begun(forgets, "user")
    asked_for(store)
    forgets.expect_person(act, PERSON)
    forgets.forget_opened_by(act, PERSON)
    with psycopg.connect(as_owner(database_url)) as owner:
        owner.execute("UPDATE forgotten_people SET forgotten_at = now() - interval '25 hours'")
        owner.execute("UPDATE thread_sessions SET drafts_since = drafts_since - 25 * 3600")
    assert forgets.people() == []
    assert store.get_or_create_session(CHANNEL, "1.1", PERSON).user_id == PERSON
    arguments = json.dumps({"args": [], "kwargs": {"channel_id": CHANNEL, "thread_ts": THREAD}})
    letters = DeadLetterStore(pool)
    told: Any = {"task_id": "1", "task_name": "t", "queue": "q", "attempts": 1, "error": CommandFailed("no")}
    assert letters.get(letters.bury(Letter(**told, arguments=arguments))).arguments == arguments
    kept: Any = {"drafts_days": None, "letters_days": None, "sessions_days": None}
    forgets.retain(**kept, most=1)
    assert ask(as_owner(database_url), "SELECT count(*) FROM forgotten_people") == 0


def test_functions_change_hands_when_their_role_comes(
    postgres: PostgresForTests, empty_database_url: str
) -> None:
    """The functions belong to the tables' owner until their role exists, and then to that role."""
    owners = "SELECT array_agg(DISTINCT proowner::regrole::text) FROM pg_proc WHERE prosecdef AND {}"
    asked = owners.format("proname LIKE 'threadsync%' AND proname NOT LIKE 'threadsync_console%'")
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        migrate(connection)
        assert "threadsync_forget" not in connection.execute(asked.encode()).fetchone()[0]  # type: ignore[index]
    with new_pool(empty_database_url, max_size=1) as pool:
        forgets, store = ForgetStore(pool), SessionStore(pool)
        session = store.get_or_create_session(CHANNEL, THREAD, PERSON)
        assert forgets.forget_sessions(begun(forgets), [session.id]) == 0
    administrator = postgres.for_administrator(empty_database_url)
    with psycopg.connect(administrator, autocommit=True) as connection:
        create_roles(connection)
        for _ in range(2):
            migrate(connection)
        assert connection.execute(asked.encode()).fetchone() == (["threadsync_forget"],)
    with new_pool(administrator, max_size=1) as pool:
        forgets = ForgetStore(pool)
        with pytest.raises(DatabaseFault, match="no act"):
            forgets.forget_sessions(uuid4(), [session.id])


def test_a_thread_without_a_session_is_forgotten_too(store: SessionStore, pool: Pool) -> None:
    """A thread without a session gets one, as its tombstone."""
    link = f"https://example.slack.com/archives/{CHANNEL}/p{THREAD.replace('.', '')}"
    session = session_of(pool, [link])
    assert (session.thread_ts, session.user_id) == (THREAD, "forgotten")
    assert session_of(pool, [CHANNEL, THREAD]).id == session_of(pool, [str(session.id)]).id == session.id
    for number in (1, 2):
        store.get_or_create_session(CHANNEL, f"{number}.1", OTHER)
        store.mark_synced(CHANNEL, f"{number}.1", "PROJ-1")
    for text in ("PROJ-1", "PROJ-2", "nonsense"):
        with pytest.raises(InvalidCommand):
            session_of(pool, [text])


def test_acts_on_a_tombstone_are_stale(store: SessionStore, forgets: ForgetStore, database_url: str) -> None:
    """Links and unlinks on a forgotten session are stale and recorded nowhere."""
    ann = NamedActor(name="ann", via="cli")
    for thread_ts, key in ((THREAD, None), ("2.2", "PROJ-2")):
        session = store.get_or_create_session(CHANNEL, thread_ts, PERSON)
        if key:
            store.link(CHANNEL, thread_ts, key, ann, uuid4(), "known")
        forgets.forget_sessions(begun(forgets), [session.id])
        before = dump(database_url)
        linked = store.link(CHANNEL, thread_ts, "PROJ-3", ann, uuid4(), "ocelot")
        assert (linked.outcome, linked.jira_key) == ("stale", key)
        assert store.unlink(CHANNEL, thread_ts, "PROJ-2", ann, "ocelot", uuid4()).outcome == "stale"
        assert dump(database_url) == before


def test_what_a_person_drafted_in_another_ones_thread_goes(
    store: SessionStore, forgets: ForgetStore, database_url: str
) -> None:
    """A person's draft in another's thread is forgotten, and another's draft in the person's thread stays."""
    maya, bob = SlackActor(user_id=PERSON, team_id="T1"), SlackActor(user_id=OTHER, team_id="T1")
    others = Draft(summary="bob's words")
    for thread_ts, user, actor, draft in (("1.1", OTHER, maya, DRAFT), ("2.2", PERSON, bob, others)):
        store.get_or_create_session(CHANNEL, thread_ts, user, actor=maya if user == PERSON else bob)
        store.request_sync(CHANNEL, thread_ts, draft, LATER, actor=actor)
    act = begun(forgets, "user")
    assert forgets.forget_opened_by(act, PERSON) == (2, 0)
    forgets.forget_named(act, PERSON, [])
    after = dump(database_url)
    assert "ocelot" not in after.lower()
    assert "bob's words" in after
    assert store.request_sync(CHANNEL, "1.1", DRAFT, LATER, actor=maya).outcome == "stale"
    assert "ocelot summary" not in dump(database_url)


def test_while_postgres_is_away_it_is_not_asked_for_each_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Postgres is not asked again for a while when it is away, and the last known redaction is used."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/nowhere")
    get_settings.cache_clear()
    monkeypatch.setattr(arrivals._Known, "until", 0.0)
    known = arrivals._Known.redaction
    assert arrivals.redaction() is known
    assert arrivals._Known.until > monotonic()


def test_a_look_that_is_due_soon_is_taken_between_two_commands(
    forgets: ForgetStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next command finds what it has found, and one that is due later is left."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    get_settings.cache_clear()
    try:
        monkeypatch.setattr(arrivals._Known, "redaction", Redaction(()))
        monkeypatch.setattr(arrivals._Known, "until", monotonic() + 1000)
        forgets.expect_person(begun(forgets, "user"), PERSON)
        arrivals.look_ahead()
        assert not arrivals.redaction()
        monkeypatch.setattr(arrivals._Known, "until", monotonic() + arrivals.LOOK_SECONDS / 4)
        arrivals.look_ahead()
        assert arrivals.redaction().finds_in(PERSON)
    finally:
        close_db()
