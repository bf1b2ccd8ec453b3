"""One session that asked for a ticket, and announcers that show it in the sandbox's Slack."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sandbox.slack.server import SlackSandbox
from threadsync.syncs import Draft
from worker.db.pool import Pool
from worker.db.sessions.store import SessionStore
from worker.db.status_messages.store import StatusStore
from worker.db.syncs.store import SyncStore
from worker.status_message.announcer import Announcer, Result
from worker.status_message.answers import Answer
from worker.status_message.web_api import WebApi

CHANNEL, THREAD, USER = "C0STATUS", "1700000000.000100", "U0456"
CANARY = "tulip-4711"
JIRA = "https://jira.example"


class SpiedConnection(WebApi):
    """Does something else right before and right after a call of the method."""

    def __init__(
        self,
        slack: SlackSandbox,
        method: str,
        before: Callable[[], object] = lambda: None,
        after: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(slack.token, slack.api_url, timeout=5)
        self._method = method
        self._before, self._after = before, after

    def call(self, method: str, **arguments: Any) -> Answer:
        if method != self._method:
            return super().call(method, **arguments)
        self._before()
        answer = super().call(method, **arguments)
        self._after()
        return answer


class Story:
    """Time passes when it is told to, beside the real one. ``messages`` are ours in the thread."""

    def __init__(self, pool: Pool, slack: SlackSandbox) -> None:
        self.pool = pool
        self._slack = slack
        self._offset = 0.0
        self.store = StatusStore(pool, clock=self.now)
        self._sessions = SessionStore(pool)
        self.session_id: UUID = self.ask_in(THREAD)

    def ask_in(self, thread_ts: str) -> UUID:
        """Ask for a thread's ticket; returns its session."""
        session = self._sessions.get_or_create_session(CHANNEL, thread_ts, USER)
        draft = Draft(summary=CANARY, description=CANARY)
        self._sessions.request_sync(CHANNEL, thread_ts, draft, "1700000001.000100")
        return session.id

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._offset)

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self._offset += seconds

    def move(self, state: str, reason: str | None = None, **columns: Any) -> None:
        """Write the sync's row as its protocol would."""
        names = ["state", "reason", "next_attempt_at", "announce_at", "updated_at", *columns]
        values = [state, reason, self.now(), self.now(), self.now(), *columns.values()]
        assignments = ", ".join(f"{name} = %s" for name in names)
        with self.pool.connection() as connection:
            connection.execute(
                f"UPDATE syncs SET {assignments} WHERE session_id = %s",  # noqa: S608
                [*values, self.session_id],
            )

    def row(self) -> dict[str, Any]:
        """The message's row, and when the sync's message is due."""
        with self.pool.connection() as connection:
            found = connection.execute(
                "SELECT m.*, s.announce_at FROM syncs s LEFT JOIN status_messages m USING (session_id) "
                "WHERE s.session_id = %s",
                [self.session_id],
            ).fetchone()
        assert found is not None
        return found

    def trouble(self) -> dict[str, Any]:
        """Return the recorded refusal by Slack."""
        with self.pool.connection() as connection:
            found = connection.execute("SELECT * FROM slack_installation").fetchone()
        assert found is not None
        return found

    @contextmanager
    def announcer(self, connection: WebApi | None = None) -> Iterator[Announcer]:
        """A process of its own, as it were."""
        connection = connection or WebApi(self._slack.token, self._slack.api_url, timeout=2)
        syncs = SyncStore(self.pool, clock=self.now)
        try:
            yield Announcer(
                self.store, syncs, connection, JIRA, monotonic=lambda: time.monotonic() + self._offset
            )
        finally:
            connection.close()

    def announce(self, connection: WebApi | None = None) -> Result:
        """One try, by a process of its own."""
        with self.announcer(connection) as announcer:
            return announcer.announce(self.session_id)

    @property
    def texts(self) -> list[str]:
        """Return the texts of our messages in the thread."""
        return [item.text for item in self._slack.messages if item.user != USER]

    def count(self, method: str) -> int:
        """Count the calls to Slack."""
        return len(self._slack.calls(method))

    def all_that_was_sent(self) -> str:
        """To Slack, by any method."""
        methods = ("chat.postMessage", "chat.update", "conversations.replies")
        return json.dumps([dict(call.arguments) for name in methods for call in self._slack.calls(name)])
