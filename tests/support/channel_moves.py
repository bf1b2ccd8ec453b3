"""Histories of channels that get other ids, delivered as a worker would, and what must be true of each."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from hypothesis import strategies as st

from threadsync.errors import JiraKeyConflict, SessionNotFound
from threadsync.syncs import Draft
from worker.db.pool import Pool
from worker.db.sessions.store import SessionStore
from worker.db.syncs.store import SyncStore

IDS: Final = ("C0A", "G0B", "C0C", "C0D")
THREADS: Final = ("1700000000.000100", "1700000000.000200")
USER: Final = "U0456"


@dataclass(frozen=True)
class Step:
    """One command; ``what`` is a draft's number, a ticket's key, or the new id."""

    does: Literal["open", "ready", "ask", "link", "move"]
    channel: str
    what: str


def steps() -> st.SearchStrategy[Step]:
    """Draw steps of all kinds; a move leads to another id."""
    channels, threads = st.sampled_from(IDS), st.sampled_from(THREADS)
    moves = st.builds(Step, st.just("move"), channels, channels)
    return st.one_of(
        st.builds(Step, st.just("open"), channels, threads),
        st.builds(Step, st.just("open"), channels, threads),
        st.builds(Step, st.just("ready"), channels, threads),
        st.builds(lambda c, t, n: Step("ask", c, f"{t}|{n}"), channels, threads, st.integers(1, 3)),
        st.builds(lambda c, t, n: Step("link", c, f"{t}|PROJ-{n}"), channels, threads, st.integers(1, 2)),
        moves.filter(lambda step: step.channel != step.what),
    )


class History:
    """Runs steps on a database, and knows what came of each."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.store = SessionStore(pool)
        self.linked: list[Step] = []
        self.ran: list[Step] = []

    def clear(self) -> None:
        """Forget all rows and steps."""
        with self._pool.connection() as connection:
            connection.execute(
                "TRUNCATE thread_sessions, channel_aliases, channel_context, channel_context_commands, "
                "syncs, sync_attempts, sync_actions, session_actions, status_messages, session_acts, "
                "left_tickets, ticket_steps"
            )
        self.linked, self.ran = [], []

    def deliver(self, history: Iterable[Step]) -> None:
        """One that finds no session waits behind the others, until none of them gets any further."""
        waiting = deque(history)
        left = len(waiting)
        while waiting and left:
            step = waiting.popleft()
            try:
                self._run(step)
            except SessionNotFound:
                waiting.append(step)
                left -= 1
            except JiraKeyConflict:
                # A dead letter: a person looks.
                left = len(waiting)
            else:
                left = len(waiting)

    def _run(self, step: Step) -> None:
        thread, _, word = step.what.partition("|")
        match step.does:
            case "open":
                self.store.get_or_create_session(step.channel, thread, USER)
            case "ready":
                self.store.update_status(step.channel, thread, "ready_to_sync")
            case "ask":
                draft = Draft(summary=f"draft {word}")
                self.store.request_sync(step.channel, thread, draft, f"170000000{word}.000000")
            case "link":
                self.store.mark_synced(step.channel, thread, word)
                self.linked.append(step)
            case "move":
                self.store.channel_moved(step.channel, step.what)
        self.ran.append(step)

    def check(self) -> None:
        """One thread, one session, whichever id it is asked for by; nothing that was asked for is lost."""
        for family in families([step for step in self.ran if step.does == "move"]):
            for thread in THREADS:
                self._check(family, thread)
            pages = [self.store.list_sessions_by_channel(channel).sessions for channel in family]
            assert all(page == pages[0] for page in pages)

    def _check(self, family: frozenset[str], thread: str) -> None:
        found = [self.store.get_session_by_thread(channel, thread) for channel in sorted(family)]
        of_thread = [s for s in self.ran if s.channel in family and s.what.partition("|")[0] == thread]
        assert all(session == found[0] for session in found)
        assert (found[0] is not None) is any(step.does == "open" for step in of_thread)
        if found[0] is None:
            return
        keys = {s.what.partition("|")[2] for s in self.linked if s in of_thread}
        assert (found[0].jira_key in keys) if keys else found[0].jira_key is None
        sync = SyncStore(self._pool).get(found[0].id)
        if len(keys) > 1:
            assert sync is not None
            assert (sync.sync.state, sync.sync.reason) == ("review", "two_tickets")
        asked = [s.what.partition("|")[2] for s in of_thread if s.does == "ask"]
        if asked and not keys:
            assert sync is not None
            assert (sync.sync.state, sync.draft.summary) == ("pending", f"draft {max(asked)}")
        if not keys and any(step.does in ("ready", "ask") for step in of_thread):
            assert found[0].status == "ready_to_sync"
        assert self._sessions(family, thread) == 1
        assert self._open_syncs(family, thread) <= 1

    def _sessions(self, family: frozenset[str], thread: str) -> int:
        """Return the sessions of the thread, aliases left out."""
        return self._count("t.alias_of IS NULL", family, thread)

    def _open_syncs(self, family: frozenset[str], thread: str) -> int:
        """Return the syncs that could still make a ticket."""
        sql = (
            "EXISTS (SELECT FROM syncs s WHERE s.session_id = t.id AND s.state IN ('pending', 'retry_wait'))"
        )
        return self._count(sql, family, thread)

    def _count(self, condition: str, family: frozenset[str], thread: str) -> int:
        with self._pool.connection() as connection:
            row: Any = connection.execute(
                "SELECT count(*) AS n FROM thread_sessions t "  # noqa: S608 - of this file
                f"WHERE t.channel_id = ANY(%s) AND t.thread_ts = %s AND {condition}",
                [sorted(family), thread],
            ).fetchone()
        return int(row["n"])


def families(moves: Sequence[Step]) -> list[frozenset[str]]:
    """The ids that are one channel's."""
    family: dict[str, frozenset[str]] = defaultdict(frozenset)
    for name in IDS:
        family[name] = frozenset({name})
    for move in moves:
        both = family[move.channel] | family[move.what]
        for name in both:
            family[name] = both
    return list(set(family.values()))
