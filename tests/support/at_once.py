"""Histories of the commands that one statement carries out for many, with all that may come between them."""
# ruff: noqa: S608 - made of names that stand here

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
from hypothesis import strategies as st

from tests.support.servers import as_owner, ask
from threadsync.actors import NamedActor, SlackActor
from threadsync.command import Command
from threadsync.commands import GetOrCreate, Link, MarkSynced, RequestSync, Unlink, UpdateStatus
from threadsync.errors import ThreadsyncError
from threadsync.syncs import Draft
from worker.db.forgetting.store import ForgetStore
from worker.db.pool import Pool
from worker.db.sessions.statements import statement_of
from worker.db.sessions.store import SessionStore
from worker.db.statement import Statement

# The first two are ids of one channel once it has moved. No batch names both: which of its two commands for
# one row is the first is not promised.
IDS: Final = ("C1", "G1")
OTHER: Final = "C2"
THREADS: Final = ("1.1", "1700000000.000100", "4000000000.000100")
PEOPLE: Final = ("U1", "U2")
KEYS: Final = ("PROJ-1", "PROJ-2")
# Before and after anything that is forgotten or unlinked in the course of a test.
MOMENTS: Final = ("1.5", "1700000000.5", "1700000000.500", "1700000001.0")
_ANN: Final = SlackActor(user_id="U1", team_id="T1")
ACTORS: Final = (
    *(None, None, _ANN, NamedActor(name='O\'Neil \\ "{}", NULL', via="cli")),
    SlackActor(user_id="U2", team_id="T1", groups=("S1", "S2"), member=False),
)
# By the event's thread: who may act in the channels from then on.
_WHO: Final[dict[str, Any]] = {THREADS[0]: ["U1"], THREADS[1]: ["U9", "S2"], THREADS[2]: "workspace"}
DRAFTS: Final = (
    Draft(summary="a"),
    Draft(summary='ü \\ "quoted" {a,b} NULL', description="two\nlines", labels=("x",)),
    Draft(summary="c", project_key="OPS"),
)
# Few, so that some are repeated: two moments are one, written differently.
_ASKED: Final = (
    *((DRAFTS[0], moment) for moment in MOMENTS[:3]),
    *((draft, moment) for draft, moment in zip(DRAFTS[1:], MOMENTS[2:], strict=True)),
)
_ALL: Final = (
    "thread_sessions, channel_context, channel_context_commands, channel_aliases, forgotten_channels, "
    "forgotten_people, forget_acts, session_acts, channel_acts, left_tickets, ticket_steps, syncs, "
    "sync_attempts, status_messages"
)


@dataclass(frozen=True)
class Fault:
    """A value that the database refuses, or the driver, for a command of the batch if it has the field."""

    place: int
    field: str
    value: str


@dataclass(frozen=True)
class Batch:
    """Commands that are carried out together."""

    commands: tuple[Command[Any], ...]
    fault: Fault | None = None

    def statements(self) -> list[Statement[Any]]:
        statements = [statement_of(command) for command in self.commands]
        if self.fault and self.fault.field in statements[self.fault.place].params:
            broken = {**statements[self.fault.place].params, self.fault.field: self.fault.value}
            statements[self.fault.place] = replace(statements[self.fault.place], params=broken)
        return statements


@dataclass(frozen=True)
class Event:
    """What happens between two batches."""

    what: str
    about: str


_FAULTS: Final = (
    ("user_id", "no id"),
    ("user_id", "U\x00"),
    ("jira_key", "no key"),
    ("status", "nonsense"),
    ("draft", '{"summary": "\\u0000"}'),
    ("draft", "[1"),
    ("drafted_at", "soon"),
)


@st.composite
def _batches(draw: st.DrawFn) -> Batch:
    channels = st.sampled_from([draw(st.sampled_from(IDS)), OTHER])
    where: dict[str, Any] = {"channel_id": channels, "thread_ts": st.sampled_from(THREADS)}
    where["actor"] = st.sampled_from(ACTORS)
    commands = st.one_of(
        st.builds(GetOrCreate, **where, user_id=st.sampled_from(PEOPLE)),
        st.builds(UpdateStatus, **where, status=st.sampled_from(["collecting", "ready_to_sync"])),
        st.builds(
            lambda asked, **thread: RequestSync(**thread, draft=asked[0], drafted_at=asked[1]),
            st.sampled_from(_ASKED),
            **where,
        ),
        st.builds(MarkSynced, **where, jira_key=st.sampled_from(KEYS)),
    )
    chosen: list[Command[Any]] = draw(st.lists(commands, min_size=1, max_size=12))
    if draw(st.integers(0, 4)):
        return Batch(tuple(chosen))
    place = draw(st.integers(0, len(chosen) - 1))
    return Batch(tuple(chosen), Fault(place, *draw(st.sampled_from(_FAULTS))))


_EVENTS: Final = st.builds(
    Event,
    st.sampled_from(
        [
            *("move", "person", "person", "thread", "channel", "unlink", "link", "who", "who", "anyone"),
            *("blocked", "parked", "failed", "review", "unknown", "future"),
        ]
    ),
    st.sampled_from(THREADS),
)
HISTORIES: Final = st.lists(st.one_of(_batches(), _batches(), _EVENTS), min_size=2, max_size=7)


class World:
    """A database, and a way to carry batches out."""

    def __init__(self, url: str, pool: Pool, *, is_at_once: bool) -> None:
        self.url = url
        self._pool = pool
        self._store = SessionStore(pool)
        self._forgets = ForgetStore(pool)
        self._is_at_once = is_at_once
        self._owner = psycopg.connect(as_owner(url), autocommit=True)

    def close(self) -> None:
        self._owner.close()

    def clear(self) -> None:
        self._owner.execute(f"TRUNCATE {_ALL} CASCADE".encode())

    def results(self, statements: Sequence[Statement[Any]]) -> list[Any]:
        """Carry the commands out; return of each what is the same in each world."""
        if self._is_at_once:
            return [comparable(result) for result in self._store.execute_many(statements)]
        results: list[Any] = []
        for statement in statements:
            try:
                results.append(self._store.execute(statement))
            except ThreadsyncError as exc:
                results.append(exc)
        return [comparable(result) for result in results]

    def happen(self, event: Event) -> None:
        """Let something happen that changes what commands find."""
        if event.what == "move":
            self._store.channel_moved(*IDS)
        elif event.what == "person":
            act = self._forgets.begin("user", None, actor="ann", reason="asked")
            self._forgets.expect_person(act, "U1")
            self._forgets.forget_opened_by(act, "U1")
        elif event.what == "channel":
            act = self._forgets.begin("channel", OTHER, actor="ann", reason="asked")
            self._forgets.forget_channel(act, OTHER)
        elif event.what == "thread":
            for session in self._sessions(event.about):
                act = self._forgets.begin("thread", f"C2 / {event.about}", actor="ann", reason="asked")
                self._forgets.forget_sessions(act, [session])
        elif event.what in ("link", "unlink"):
            self._act(event)
        elif event.what in ("who", "anyone"):
            who = _WHO[event.about] if event.what == "who" else None
            for channel in (IDS[0], OTHER):
                self._store.merge_channel_context(channel, {"threadsync": {"who": who}}, uuid4())
        else:
            self._owner.execute(_OF_A_SYNC[event.what].encode(), {"thread": event.about})

    def _sessions(self, thread: str) -> list[UUID]:
        rows = self._owner.execute(
            "SELECT id FROM thread_sessions WHERE channel_id = %s AND thread_ts = %s", [OTHER, thread]
        )
        return [row[0] for row in rows]

    def _act(self, event: Event) -> None:
        given: dict[str, Any] = {"thread_ts": event.about, "jira_key": KEYS[0], "actor": _ANN}
        for channel in (IDS[0], OTHER):
            given |= {"channel_id": channel, "command_id": uuid4(), "reason": "a typo"}
            command = Link(**given) if event.what == "link" else Unlink(**given, unlinked_at=MOMENTS[1])
            self._store.run_many([command])

    def rows(self, since: object) -> object:
        """Return all rows of sessions and syncs without ids and times, and which were written since."""
        return self._owner.execute(_ROWS.replace("$since", str(since)).encode()).fetchone()

    def transaction(self) -> object:
        return ask(self.url, "SELECT pg_current_xact_id()::text")


def comparable(result: Any) -> Any:
    """Reduce a result to the parts that are the same in each world."""
    if isinstance(result, Exception):
        return type(result).__name__, result.args
    if isinstance(result, str):
        return result
    return result.model_dump(
        exclude={"id", "created_at", "updated_at"}
    ), result.updated_at == result.created_at


_THREAD_OF: Final = (
    "WHERE session_id IN (SELECT id FROM thread_sessions WHERE thread_ts = %(thread)s) AND state <> 'done'"
)
_OF_A_SYNC: Final = {
    "blocked": f"UPDATE syncs SET state = 'blocked', reason = 'no_access' {_THREAD_OF}",
    "parked": f"UPDATE syncs SET state = 'blocked', reason = 'no_access', parked = true {_THREAD_OF}",
    "failed": f"UPDATE syncs SET state = 'failed', reason = 'refused', parked = false {_THREAD_OF}",
    "review": f"UPDATE syncs SET state = 'review', reason = 'two_tickets', parked = false {_THREAD_OF}",
    "unknown": f"UPDATE syncs SET state = 'unknown', reason = 'no_answer', parked = false {_THREAD_OF}",
    # From before such moments were refused.
    "future": f"UPDATE syncs SET drafted_at = 9000000000 {_THREAD_OF}",
}
# Whether a row was written is seen in `xmin`: a command that changes nothing shall not write either.
_ROWS: Final = """
SELECT json_agg(row ORDER BY row::text) FROM (
    SELECT to_jsonb(t) - '{id,alias_of,created_at,updated_at,ready_at,synced_at}'::text[]
           - '{forgotten_at,drafts_since}'::text[]
           || jsonb_build_object(
               'alias', alias_of IS NOT NULL, 'ready', ready_at IS NOT NULL, 'linked', synced_at IS NOT NULL,
               'forgotten', forgotten_at IS NOT NULL, 'since', drafts_since IS NOT NULL,
               'new', created_at = updated_at, 'written', t.xmin::text::bigint > $since,
               'sync', (
                   SELECT to_jsonb(s)
                          - '{session_id,requested_at,updated_at,done_at,announce_at,next_attempt_at}'::text[]
                          - '{queued_until,drafted_at}'::text[]
                          || jsonb_build_object(
                              'done', done_at IS NOT NULL, 'announced', announce_at IS NOT NULL,
                              'next', next_attempt_at IS NOT NULL, 'queued', queued_until IS NOT NULL,
                              'drafted', CASE WHEN drafted_at < 1700000100 THEN drafted_at END,
                              'sync_new', requested_at = s.updated_at,
                              'sync_written', s.xmin::text::bigint > $since
                          )
                   FROM syncs s WHERE s.session_id = t.id
               )
           ) AS row
    FROM thread_sessions t
) AS rows
"""
