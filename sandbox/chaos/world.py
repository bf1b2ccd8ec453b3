"""A small world in virtual time: one Jira, one session in Postgres, workers that come and go."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sandbox.chaos.interruptions import Crashed, Interruptible, Interruption, Steps
from sandbox.jira.site import JiraSite
from sandbox.jira.transport import SandboxTransport
from sandbox.virtual_clock import VirtualClock
from threadsync.marker import site_of
from threadsync.syncs import Draft, SyncDetail, SyncState
from worker.db.pool import Pool
from worker.db.sessions.store import SessionStore
from worker.db.syncs.store import SyncStore
from worker.jira.answers import JiraAccount
from worker.jira.breaker import Breaker
from worker.jira.client import JiraClient
from worker.jira.setup import Setup, Target
from worker.jira.sync import run_sync

URL = "https://jira.example"


class WorldClock:
    """The world's time as wall clock and monotonic clock; ``sleep`` advances it."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def monotonic(self) -> float:
        return self._clock()

    def sleep(self, seconds: float, /) -> None:
        self._clock.advance(seconds)


class Zombie:
    """A worker that is frozen in the middle of its run, in a thread of its own."""

    def __init__(self, thread: threading.Thread, steps: Steps) -> None:
        self._thread = thread
        self._steps = steps

    def wake(self) -> None:
        """Let the worker run to its end."""
        self._steps.thaw()
        self._thread.join()


class World:
    """One session and its ticket. Nothing in it waits in real time.

    Args:
        search_lag: seconds until Jira's search sees a ticket.
        settle: the settle window, in seconds.
        site_name: a Jira site to share with other worlds; by default a site of its own.
    """

    def __init__(
        self,
        pool: Pool,
        thread_ts: str,
        *,
        search_lag: float,
        settle: float,
        seed: int,
        site_name: str | None = None,
    ) -> None:
        # Never behind the database's own clock, which is the only one of the session commands.
        self.clock = VirtualClock(datetime.now(UTC).timestamp() + 1)
        self.time = WorldClock(self.clock)
        self.site = JiraSite(clock=self.clock, search_lag=search_lag)
        self.thread = ("C0CHAOS", thread_ts)
        self.draw = random.Random(seed)  # noqa: S311 - no secret
        self.sessions = SessionStore(pool)
        self.store = SyncStore(pool, clock=self.time.now)
        # A site of its own, so that its breaker is not another run's.
        account = JiraAccount(URL, self.site.email, self.site.token)
        self.target = Target(
            account, site_name or f"{site_of(URL)}/{seed}/{thread_ts}", "PROJ", "Task", settle, 1
        )
        self._jira = self._connect()
        session = self.sessions.get_or_create_session(*self.thread, "U0CHAOS")
        self.session_id: UUID = session.id

    def close(self) -> None:
        """Close the connection to Jira."""
        self._jira.close()

    def ask(self, summary: str, drafted_at: str) -> str:
        """Request the ticket, and return the command's outcome."""
        draft = Draft(summary=summary, description="as *told*")
        return self.sessions.request_sync(*self.thread, draft, drafted_at).outcome

    def work(self, interruption: Interruption | None = None) -> Steps:
        """Run a worker once, until its end or its crash; return its steps."""
        steps = Steps(interruption)
        try:
            run_sync(self._setup(steps, self._jira), self.session_id)
        except Crashed:
            # A process takes its open connection with it.
            self._jira.close()
        return steps

    def freeze(self, interruption: Interruption) -> Zombie | None:
        """Start a worker that freezes at a step; return None if it ended before that step."""
        steps = Steps(interruption)

        def work() -> None:
            # Two threads on one client would wait for each other.
            with self._connect() as jira:
                run_sync(self._setup(steps, jira), self.session_id)

        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive() and not steps.frozen.wait(0.002):
            pass
        return Zombie(thread, steps) if thread.is_alive() else None

    def probe(self) -> None:
        """Probe the paused site, as the sweep does."""
        Breaker(self._setup(Steps(), self._jira)).probe()

    def state(self) -> SyncState:
        """Return the state of the sync."""
        state = self.store.get_state(self.session_id)
        assert state is not None  # noqa: S101 - it was asked for
        return state

    def detail(self) -> SyncDetail:
        """Return the sync in full."""
        detail = self.store.get(self.session_id)
        assert detail is not None  # noqa: S101 - it was asked for
        return detail

    def _connect(self) -> JiraClient:
        return JiraClient(self.target.account, SandboxTransport(self.site, on_wait=self.clock.advance))

    def _setup(self, steps: Steps, jira: JiraClient) -> Setup:
        store: Any = Interruptible(self.store, steps)
        client: Any = Interruptible(jira, steps)
        return Setup(store, client, self.target, jitter=self.draw.random, clock=self.time)
