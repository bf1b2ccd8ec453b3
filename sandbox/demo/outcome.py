"""Read the outcome of a story from the database, the broker and the sandbox, and check it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import redis
from rich.console import Console
from rich.table import Table

from sandbox.demo.story import CHANNELS, OTHER, Story, Thread
from sandbox.demo.stream import Tally
from sandbox.jira.issues import Issue
from sandbox.jira.server import JiraSandbox
from sandbox.jira.site import JiraSite
from sandbox.slack.server import SlackSandbox
from threadsync.reply_commands import REPLY_EVENT_TYPE
from threadsync.sessions import SessionPage, ThreadSession
from threadsync.types import Status
from worker.db.dead_letters.store import DeadLetterStore
from worker.db.pool import Pool
from worker.db.sessions.store import SessionStore
from worker.durable.beat import CANARY_TASK as CANARY
from worker.text.slack_names import EVENT_TYPE

_SHOWN = 12
_STYLES: Final[dict[Status, str]] = {"collecting": "yellow", "ready_to_sync": "cyan", "synced": "green"}


@dataclass(frozen=True)
class Check:
    """A promise of the demo: whether it holds, and the figures found."""

    promise: str
    holds: bool
    found: str


def made_by_us(site: JiraSite) -> list[Issue]:
    """Return the tickets that sessions asked for; the ones that users link to were there before."""
    return [issue for issue in site.issues if issue.project != OTHER]


class Outcome:
    """A story's traces in the database, the broker and the sandboxes, read again by each call."""

    def __init__(
        self, story: Story, pool: Pool, broker_url: str, slack: SlackSandbox, jira: JiraSandbox
    ) -> None:
        self._story = story
        self._jira = jira
        self._threads = {(thread.channel_id, thread.thread_ts): thread for thread in story.threads}
        self._store = SessionStore(pool)
        self._letters = DeadLetterStore(pool)
        self._broker_url = broker_url
        self._slack = slack

    def sessions(self) -> list[ThreadSession]:
        """Return the sessions of the story's threads; the database may hold those of earlier demos too."""
        return [
            session
            for channel in CHANNELS
            for page in self._pages(channel)
            for session in page.sessions
            if _place(session) in self._threads
        ]

    def unfinished(self) -> int:
        """Count the commands in the queue and in workers."""
        waiting, taken = self._messages()
        return sum(_is_command(json.loads(message)) for message in waiting) + len(_commands(taken))

    def in_workers(self) -> set[bytes]:
        """Return the tags of unfinished commands that a worker has, or had when it was killed."""
        _, taken = self._messages()
        return _commands(taken)

    def _messages(self) -> tuple[list[bytes], dict[bytes, bytes]]:
        # In one transaction: a message that returns to the queue in between would be in neither.
        with redis.Redis.from_url(self._broker_url) as client, client.pipeline(transaction=True) as both:
            waiting, taken = both.lrange("sessions", 0, -1).hgetall("unacked").execute()
        return waiting, taken

    def without_ticket(self) -> int:
        """Count the threads of the story that ask for a ticket and have none yet."""
        asking = {place for place, thread in self._threads.items() if thread.asks_for_ticket}
        return len(asking - {_place(row) for row in self.sessions() if row.status == "synced"})

    def dead_letters(self) -> int:
        """Count the open dead letters."""
        return len(self._letters.list_by_state("dead", limit=200))

    def replies(self) -> Counter[str]:
        """Count the bot's replies in each thread of the story, its status message left out."""
        return self._messages_of(REPLY_EVENT_TYPE)

    def status_messages(self) -> Counter[str]:
        """Count the status messages of each thread."""
        return self._messages_of(EVENT_TYPE)

    def _messages_of(self, event_type: str) -> Counter[str]:
        """Count by thread the messages whose metadata has this event type."""
        return Counter(
            item.thread_ts
            for item in self._slack.messages
            if item.thread_ts and item.metadata and item.metadata["event_type"] == event_type
        )

    def checks(self, tally: Tally, letters_before: int) -> Iterator[Check]:
        """Yield each promise, compared with the findings."""
        rows = self.sessions()
        threads = {_place(row) for row in rows}
        expected = len(self._threads)
        yield Check(
            "each thread has one row, and one only",
            len(rows) == len(threads) == expected,
            f"{len(rows)} rows, {expected} threads",
        )
        wrong = [row for row in rows if not self._is_as_told(row)]
        yield Check(
            "each session ends as the command table says, in whatever order the commands came",
            not wrong,
            f"{len(rows) - len(wrong)} of {expected}",
        )
        yield self._check_tickets(rows)
        twice = sum(1 for count in self.replies().values() if count > 1)
        twice += sum(1 for count in self.status_messages().values() if count > 1)
        yield Check(
            "no thread was answered twice, nor told twice how its ticket stands",
            twice == 0,
            f"{len(self.replies())} threads answered, {len(self.status_messages())} told",
        )
        yield Check(
            "Slack had its answer within 3 s, each time",
            not tally.refused and max(tally.seconds, default=0) < 3,
            f"slowest {max(tally.seconds, default=0):.2f} s, {len(tally.refused)} not taken",
        )
        letters = self.dead_letters() - letters_before
        yield Check("no command failed", letters == 0, f"{letters} dead letters")
        yield Check("nothing is left in the broker", self.unfinished() == 0, f"{self.unfinished()} messages")

    def _check_tickets(self, rows: list[ThreadSession]) -> Check:
        asking = [row for row in rows if self._threads[_place(row)].asks_for_ticket]
        keys = [issue.key for issue in made_by_us(self._jira.site)]
        return Check(
            "each session that asked for a ticket has one, its own, and there is no other",
            sorted(row.jira_key or "" for row in asking) == sorted(keys),
            f"{len(keys)} tickets, {len(asking)} asked for",
        )

    def _is_as_told(self, row: ThreadSession) -> bool:
        thread: Thread = self._threads[_place(row)]
        expected = row.jira_key if thread.asks_for_ticket else thread.jira_key
        return (row.status, row.jira_key) == (thread.status, expected)

    def _pages(self, channel: str) -> Iterator[SessionPage]:
        cursor = None
        while True:
            page = self._store.list_sessions_by_channel(channel, limit=200, cursor=cursor)
            yield page
            cursor = page.next_cursor
            # Newest first: a page without one of ours is older than the story.
            if cursor is None or not any(self._is_ours(session) for session in page.sessions):
                return

    def _is_ours(self, session: ThreadSession) -> bool:
        return _place(session) in self._threads


def _place(row: ThreadSession) -> tuple[str, str]:
    return row.channel_id, row.thread_ts


def show_sessions(console: Console, sessions: list[ThreadSession]) -> None:
    """Print the newest sessions, and the number of sessions in each status."""
    table = Table(title="Sessions", title_justify="left")
    for heading in ("channel", "thread", "opened by", "status", "ticket"):
        table.add_column(heading, no_wrap=True)
    for session in sorted(sessions, key=lambda session: session.id, reverse=True)[:_SHOWN]:
        status = f"[{_STYLES[session.status]}]{session.status}[/]"
        table.add_row(session.channel_id, session.thread_ts, session.user_id, status, session.jira_key or "-")
    console.print(table)
    counts = Counter(session.status for session in sessions)
    rest = f"{len(sessions) - _SHOWN} more; " if len(sessions) > _SHOWN else ""
    console.print(f"{rest}in all " + ", ".join(f"{counts[status]} {status}" for status in _STYLES))


def show_checks(console: Console, checks: list[Check]) -> None:
    """Print each check on a line."""
    for check in checks:
        mark = "[green]✓[/]" if check.holds else "[bold red]✗[/]"
        console.print(f"{mark} {check.promise} [dim]({check.found})[/]")


def _commands(taken: Mapping[bytes, bytes]) -> set[bytes]:
    """Return the tags of the commands that workers have; a value is ``[message, exchange, queue]``."""
    entries = {tag: json.loads(entry) for tag, entry in taken.items()}
    return {
        tag for tag, (message, _, queue) in entries.items() if queue == "sessions" and _is_command(message)
    }


def _is_command(message: Mapping[str, Any]) -> bool:
    """Return True unless the message is a canary: there is always one of those in the queue."""
    return bool(message["headers"]["task"] != CANARY)
