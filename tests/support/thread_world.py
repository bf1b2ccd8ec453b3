"""A session with a ticket and a thread in virtual time, and the workers that write the one to the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import uuid4

from sandbox.chaos.interruptions import Crashed, Interruptible, Interruption, Steps
from sandbox.chaos.world import World
from tests.support.thread_servers import (
    API_URL,
    CANARY,
    SIGN_IN,
    TOKEN,
    ThreadSlack,
    TicketJira,
    said,
)
from threadsync.actors import SlackActor
from threadsync.ticket_steps import TicketStep
from worker.db.pool import Pool
from worker.jira.client import JiraClient
from worker.jira.setup import Setup
from worker.status_message.web_api import WebApi
from worker.thread.lookup import Names
from worker.thread.slack import Access, SlackReader
from worker.thread.step import StepRun, lease_of

ANN: Final = SlackActor(user_id="U0456", team_id="T0123")
SETTLE: Final = 600
CONTENT: Final = b"%PDF-1.7 " + b"x" * 2_000
_numbers = itertools.count(1)


class Following(Interruptible):
    """The store of syncs, each call of which and of its store of steps is a step of the worker."""

    @property
    def steps(self) -> Any:
        return Interruptible(self._target.steps, self._steps)


class ThreadWorld(World):
    """A session whose ticket was made, with a thread in Slack."""

    def __init__(self, pool: Pool, include: str) -> None:
        number = next(_numbers)
        super().__init__(pool, f"{1_700_000_000 + number}.000100", search_lag=0, settle=SETTLE, seed=number)
        self.tickets = TicketJira(self.clock)
        self.thread_slack = ThreadSlack(names={"U1": "Ann"})
        self.names = Names(self.time.monotonic)
        self.thread_slack.messages = [said(self.thread[1], "U1", f"The export {CANARY} stops")]
        self.sessions.merge_channel_context(
            self.thread[0], {"threadsync": {"include": include}, "others": 1}, uuid4()
        )

    def reply(self, number: int, user: str, text: str, **more: Any) -> None:
        ts = f"{int(self.thread[1].partition('.')[0]) + number}.000200"
        self.thread_slack.messages.append(said(ts, user, text, **more))

    def make(self) -> None:
        self.clock.advance(1)
        self.ask("It is broken", f"{self.clock():.6f}")
        for _ in range(20):
            self.work()
            if self.state().state == "done":
                break
            self.clock.advance(30)
        # The link back is a step of the sync.
        self.work()

    def follow(self, interruption: Interruption | None = None) -> Steps:
        """Run a worker on the steps that are due, until its end or its crash."""
        steps = Steps(interruption)
        api = WebApi(TOKEN, API_URL, transport=self.thread_slack)
        with JiraClient(self.target.account, self.tickets) as client:
            store: Any = Following(self.store, steps)
            jira: Any = Interruptible(client, steps)
            calls: Any = Interruptible(api, steps)
            setup = Setup(store, jira, self.target, jitter=self.draw.random, clock=self.time)
            access = Access(TOKEN, API_URL, self.thread_slack)
            for key in self.store.steps.take_due(most=1_000, for_seconds=0):
                # Another world's steps are another Jira's.
                is_ours = key.session_id == self.session_id
                claim = self.store.steps.claim(key, lease=lease_of(setup)) if is_ours else None
                if claim is None:
                    continue
                try:
                    StepRun(setup, claim, SlackReader(calls, access, self.time.monotonic), self.names).run()
                except Crashed:
                    break
        api.close()
        return steps

    def steps(self) -> tuple[TicketStep, ...]:
        return self.store.steps.of(self.session_id)

    def open_steps(self) -> list[str]:
        return [step.summary() for step in self.steps() if step.next_attempt_at is not None]

    def follow_until_over(self, most: int = 2_000) -> None:
        for _ in range(most):
            if not self.open_steps():
                # What was late is there by then.
                self.clock.advance(2 * SETTLE)
                return
            self.follow()
            self.clock.advance(max(self._seconds_to_next(), 30.0))
        raise AssertionError(self.open_steps())

    def _seconds_to_next(self) -> float:
        """Return the time until the next step is due; one that a dead worker has claimed is due already."""
        moments = [step.next_attempt_at for step in self.steps() if step.next_attempt_at]
        return (min(moments) - self.time.now()).total_seconds() if moments else 0.0

    def link_of_the_ticket(self) -> str:
        (url,) = self.tickets.links.values()
        return url

    def states(self) -> dict[str, str]:
        return {step.file_id or step.step: step.state for step in self.steps()}

    def unlink(self) -> None:
        """Unlink the ticket that the session has."""
        session = self.sessions.get_session(self.session_id)
        if session and session.jira_key:
            at = f"{self.clock():.6f}"
            self.sessions.unlink(*self.thread, session.jira_key, ANN, "the wrong one", uuid4(), at)

    def link(self, key: str) -> None:
        """Link a ticket to the session."""
        self.sessions.link(*self.thread, key, ANN, uuid4())


@contextmanager
def new_world(pool: Pool, include: str = "text") -> Iterator[ThreadWorld]:
    world = ThreadWorld(pool, include)
    try:
        yield world
    finally:
        world.close()


def with_files(world: ThreadWorld) -> None:
    """Add a long thread with three files, one of which Slack answers with a page to sign in."""
    for number in range(1, 450):
        world.reply(number, "U1" if number % 2 else "U2", f"word{number}end {CANARY} " + "x" * 120)
    files = [world.thread_slack.add_file(f"F{number}", f"plan {number}.pdf", CONTENT) for number in (1, 2, 3)]
    world.thread_slack.messages[7]["files"] = files[:2]
    world.thread_slack.messages[9]["files"] = files[2:]
    raw, _, _ = world.thread_slack.files["F3"]
    world.thread_slack.files["F3"] = (raw, SIGN_IN, "text/html; charset=utf-8")
