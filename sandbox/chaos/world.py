"""A small world in virtual time: one Jira, one Slack, one session in Postgres, workers that come and go."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, LiteralString
from uuid import UUID, uuid4

from sandbox.chaos.interruptions import Crashed, Interruptible, Interruption, Steps
from sandbox.jira.logins import CLIENT_ID, CLIENT_SECRET, SCOPED_TOKEN
from sandbox.jira.site import JiraSite
from sandbox.jira.transport import SandboxTransport
from sandbox.slack.messages import SlackFile
from sandbox.slack.transport import SlackTransport
from sandbox.slack.workspace import SlackWorkspace
from sandbox.virtual_clock import VirtualClock
from threadsync.actors import SlackActor
from threadsync.marker import site_of
from threadsync.syncs import Draft, SyncDetail, SyncState
from worker.db.pool import Pool
from worker.db.sessions.store import SessionStore
from worker.db.syncs.store import SyncStore
from worker.jira.answers import JiraAccount, OAuthClient
from worker.jira.breaker import Breaker
from worker.jira.client import JiraClient
from worker.jira.setup import Setup, Target, of_nobody
from worker.jira.sync import run_sync
from worker.jira.unlink import UnlinkStep
from worker.jira.unlink import lease_of as lease_of_unlinking
from worker.status_message.web_api import WebApi
from worker.thread.lookup import Names
from worker.thread.slack import Access, SlackReader
from worker.thread.step import StepRun
from worker.thread.step import lease_of as lease_of_step

URL = "https://jira.example"
SLACK_URL: Final = "https://slack.com"
SLACK_TOKEN: Final = "xoxb-chaos"  # noqa: S105 - nobody's
CHANNEL: Final = "C0CHAOS"
ANN: Final = SlackActor(user_id="U0CHAOS", team_id="T0SANDBOX")
GRACE: Final = SlackActor(user_id="U0GRACE", team_id="T0SANDBOX")
LEAVER: Final = SlackActor(user_id="U0LEAVER", team_id="T0SANDBOX")
STRANGER: Final = SlackActor(user_id="U0STRANGER", team_id="T0SANDBOX")
ACCOUNTS: Final = {
    ANN.user_id: "712020:sandbox-ada",
    GRACE.user_id: "712020:sandbox-grace",
    LEAVER.user_id: "712020:sandbox-leaver",
}
"""Accounts in Jira of people in Slack, of whom a stranger has none, and Jira does not know the leaver's."""

Login = Literal["classic", "scoped", "oauth"]

_MOST_TRIES: Final = 20


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

    Keys of other threads' tickets are in ``others``. ``account_of`` and ``name_of`` tell who people are, as
    those of ``Setup``.

    Args:
        search_lag: seconds until Jira's search sees a ticket.
        settle: the settle window, in seconds.
        site_name: a Jira site to share with other worlds; by default a site of its own.
    """

    account_of: Callable[[str], str | None] = staticmethod(of_nobody)
    name_of: Callable[[str], str | None] = staticmethod(of_nobody)

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
        self.workspace = SlackWorkspace(site=SLACK_URL)
        self.slack = SlackTransport(self.workspace, SLACK_TOKEN, on_wait=self.clock.advance)
        self.names = Names(self.time.monotonic)
        self.files: tuple[str, ...] = ()
        self.others: set[str] = set()
        self.thread = (CHANNEL, thread_ts)
        self.draw = random.Random(seed)  # noqa: S311 - no secret
        self._pool = pool
        self.sessions = SessionStore(pool)
        self.store = SyncStore(pool, clock=self.time.now)
        # A site of its own, so that its breaker is not another run's.
        self.target = Target(
            self._account("classic"),
            site_name or f"{site_of(URL)}/{seed}/{thread_ts}",
            "PROJ",
            "Task",
            settle,
            1,
        )
        self._jira = self._connect()
        session = self.sessions.get_or_create_session(*self.thread, "U0CHAOS")
        self.session_id: UUID = session.id

    def close(self) -> None:
        """Close the connection to Jira."""
        self._jira.close()

    def include(self, include: str) -> None:
        """Set what of a thread goes to its ticket: ``link | text | files``. It is the channel's setting."""
        self.sessions.merge_channel_context(CHANNEL, {"threadsync": {"include": include}}, uuid4())

    def write_thread(self, *, messages: int, letters: int, files: int) -> None:
        """Write a thread of so many messages, the first of which has the files."""
        channel, root = self.thread
        self.files = tuple(f"F{number}" for number in range(1, files + 1))
        uploads = [
            SlackFile(file, f"{file}.pdf", b"%PDF-1.7 " + file.encode(), "application/pdf")
            for file in self.files
        ]
        began = int(root.partition(".")[0])
        for number in range(messages):
            ts = f"{began + number}.000100"
            text = f"Message {number} {'x' * letters}"
            self.workspace.add(
                channel, "U0CHAOS", text, ts=ts, thread_ts=root, files=() if number else uploads
            )

    def ask(self, summary: str, drafted_at: str, actor: SlackActor | None = None) -> str:
        """Request the ticket, and return the command's outcome."""
        draft = Draft(summary=summary, description="as *told*")
        return self.sessions.request_sync(*self.thread, draft, drafted_at, actor).outcome

    def make_another(self, thread_ts: str) -> None:
        """Let another thread have its ticket, with a reporter; Jira must be well. ``others`` has its key."""
        session = self.sessions.get_or_create_session(CHANNEL, thread_ts, ANN.user_id)
        draft = Draft(summary="Another one", description="")
        self.sessions.request_sync(CHANNEL, thread_ts, draft, f"{self.clock():.6f}", ANN)
        for _ in range(_MOST_TRIES):
            state = run_sync(self._setup(Steps(), self._jira), session.id).state
            self.others |= {state.jira_key} if state.jira_key else set()
            if state.state == "done":
                break
            self.clock.advance(60)
            self.probe()
        with self._pool.connection() as connection:
            # What follows that ticket would be due in the worlds that come after this one.
            connection.execute(
                "UPDATE ticket_steps SET next_attempt_at = NULL, given_up = 'unlinked' WHERE session_id = %s",
                (session.id,),
            )

    def name_requesters(self, account_of: Callable[[str], str | None]) -> None:
        """Restart the workers with JIRA_REPORTER=requester; they find people by ``account_of``."""
        self.target = replace(self.target, names_requester=True)
        self.account_of = account_of

    def change_login(self, login: Login) -> None:
        """Restart the workers with another login to Jira; a frozen one keeps its own."""
        self.target = replace(self.target, account=self._account(login))
        self._jira.close()
        self._jira = self._connect()

    def unlink(self) -> str | None:
        """Unlink the session's ticket, as a person does; return its key, None if there is none."""
        key = self._key()
        if key is None:
            return None
        asked_at = f"{self.clock():.6f}"
        self.sessions.unlink(*self.thread, key, ANN, "the wrong one", uuid4(), asked_at)
        self._date("UPDATE left_tickets SET left_at = %s WHERE session_id = %s AND jira_key = %s", key)
        return key

    def link(self, key: str) -> None:
        """Link a ticket to the session, as a person does."""
        self.sessions.link(*self.thread, key, ANN, uuid4())
        self._date(
            "UPDATE ticket_steps SET begun_at = %s WHERE session_id = %s AND jira_key = %s AND step = 'link'",
            key,
        )

    def work(self, interruption: Interruption | None = None) -> Steps:
        """Run a worker once on the sync, until its end or its crash; return its steps."""
        return self._run(self._sync, interruption)

    def follow(self, interruption: Interruption | None = None) -> Steps:
        """Run a worker once on what follows a ticket and is due, until its end or its crash."""
        return self._run(self._follow, interruption)

    def freeze(self, interruption: Interruption, *, follows: bool = False) -> Zombie | None:
        """Start a worker that freezes at a step; return None if it ended before that step."""
        steps = Steps(interruption)

        def work() -> None:
            # Two threads on one client would wait for each other.
            with self._connect() as jira:
                (self._follow if follows else self._sync)(steps, jira)

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

    def next_due(self) -> datetime | None:
        """Return when a step of the sync, after its ticket or of an unlinked one is due; None if none is."""
        moments = [self.state().next_attempt_at]
        moments += [step.next_attempt_at for step in self.store.steps.of(self.session_id)]
        moments += [ticket.next_attempt_at for ticket in self.store.unlinked.of(self.session_id)]
        return min((moment for moment in moments if moment), default=None)

    def lacks_a_ticket(self) -> bool:
        """Return True if the session's ticket was unlinked, and none was asked for since."""
        return self.state().state in ("failed", "done") and self._key() is None

    def detail(self) -> SyncDetail:
        """Return the sync in full."""
        detail = self.store.get(self.session_id)
        assert detail is not None  # noqa: S101 - it was asked for
        return detail

    def _run(self, work: Callable[[Steps, JiraClient], None], interruption: Interruption | None) -> Steps:
        steps = Steps(interruption)
        try:
            work(steps, self._jira)
        except Crashed:
            # A process takes its open connection with it.
            self._jira.close()
        return steps

    def _sync(self, steps: Steps, jira: JiraClient) -> None:
        run_sync(self._setup(steps, jira), self.session_id)

    def _follow(self, steps: Steps, jira: JiraClient) -> None:
        setup = self._setup(steps, jira)
        api = WebApi(SLACK_TOKEN, f"{SLACK_URL}/api/", transport=self.slack)
        calls: Any = Interruptible(api, steps)
        access = Access(SLACK_TOKEN, f"{SLACK_URL}/api/", self.slack)
        try:
            for key in self.store.steps.take_due(most=1_000, for_seconds=0):
                # Another session's steps are another world's.
                is_ours = key.session_id == self.session_id
                claim = setup.store.steps.claim(key, lease=lease_of_step(setup)) if is_ours else None
                if claim:
                    reader = SlackReader(calls, access, self.time.monotonic)
                    StepRun(setup, claim, reader, self.names).run()
            for session_id, jira_key in self.store.unlinked.take_due(most=1_000, for_seconds=0):
                if session_id == self.session_id:
                    lease = lease_of_unlinking(setup)
                    left = setup.store.unlinked.claim(session_id, jira_key, lease=lease)
                    if left:
                        UnlinkStep(setup, left).run()
        finally:
            api.close()

    def _date(self, statement: LiteralString, key: str) -> None:
        """Date an act by the world's clock; its function in the database knows that one's alone."""
        with self._pool.connection() as connection:
            connection.execute(statement, (self.time.now(), self.session_id, key))

    def _key(self) -> str | None:
        session = self.sessions.get_session(self.session_id)
        return session.jira_key if session else None

    def _account(self, login: Login) -> JiraAccount:
        site = self.site
        match login:
            case "classic":
                return JiraAccount(URL, site.email, site.token)
            case "scoped":
                return JiraAccount(URL, site.email, SCOPED_TOKEN, cloud_id=site.cloud_id)
            case "oauth":
                client = OAuthClient(CLIENT_ID, CLIENT_SECRET)
                return JiraAccount(URL, None, "", cloud_id=site.cloud_id, oauth=client)

    def _connect(self) -> JiraClient:
        transport = SandboxTransport(self.site, on_wait=self.clock.advance)
        return JiraClient(self.target.account, transport, self.time.monotonic)

    def _setup(self, steps: Steps, jira: JiraClient) -> Setup:
        store: Any = Interruptible(self.store, steps)
        client: Any = Interruptible(jira, steps)
        return Setup(
            store,
            client,
            self.target,
            jitter=self.draw.random,
            clock=self.time,
            account_of=self.account_of,
            name_of=self.name_of,
        )
