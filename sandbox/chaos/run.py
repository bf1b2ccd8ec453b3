"""One run of chaos: a session asks for its ticket amid faults, and must have it once they stop."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from sandbox.chaos.interruptions import Interruption
from sandbox.chaos.world import World, Zombie
from sandbox.jira.faults import (
    BURST,
    GLOBAL_QUOTA,
    CommitLate,
    CommitThenDrop,
    CommitThenStatus,
    DropBeforeCommit,
    Fault,
    Hang,
    HtmlRefusal,
    NotJson,
    Redirect,
    Refuse,
    Slow,
    Status,
    StripLabel,
    Throttle,
    Truncated,
)
from worker.db.pool import Pool

SETTLE_SECONDS: Final = 600
LONGEST_LAG: Final = 120
LATEST_COMMIT: Final = 240
_STORMY_TURNS: Final = 20
_CALM_TURNS: Final = 80
_MOST_STEPS: Final = 9
_PERSONS: Final = ("blocked", "failed", "review")


class Broken(AssertionError):
    """A broken promise; the seed in the message reproduces it."""


@dataclass
class Tally:
    """Counts of runs, of faults and events met in them, and of creates per session."""

    runs: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    attempts: Counter[int] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        self.runs += other.runs
        self.faults += other.faults
        self.events += other.events
        self.attempts += other.attempts


def run(pool: Pool, seed: int, thread_ts: str) -> Tally:
    """Take one session from its request to its audited ticket. Raises ``Broken``.

    Args:
        thread_ts: of a thread that has no session yet.
    """
    draw = random.Random(seed)  # noqa: S311 - no secret
    world = World(pool, thread_ts, search_lag=draw.uniform(0, LONGEST_LAG), settle=SETTLE_SECONDS, seed=seed)
    story = _Run(world, draw, seed)
    try:
        return story.go()
    finally:
        # Also after a broken promise: a frozen thread would keep the process from ending.
        story.wake()
        world.close()


class _Run:
    def __init__(self, world: World, draw: random.Random, seed: int) -> None:
        self._world = world
        self._draw = draw
        self._seed = seed
        self._zombies: list[Zombie] = []
        self._tally = Tally(runs=1)
        self._drafts = 0
        self._token = world.site.token

    def go(self) -> Tally:
        world, draw = self._world, self._draw
        world.site.skip_keys(draw.choice((0, 0, 7, 60)))
        self._ask()
        world.site.plan = self._fault
        for _ in range(_STORMY_TURNS):
            self._happen()
            self._check()
        world.site.plan = None
        world.site.token, world.site.is_down = self._token, False
        self._calm()
        self._tally.faults = Counter(world.site.met)
        return self._tally

    def _happen(self) -> None:
        """Cause one event, drawn by weight, then let some time pass."""
        draw, world = self._draw, self._world
        what = draw.choices(
            ("work", "crash", "freeze", "wake", "retry", "ask", "give up", "token", "down", "strip", "probe"),
            (10, 4, 3, 2, 2, 1, 0.3, 0.3, 0.3, 0.5, 1),
        )[0]
        self._tally.events[what] += 1
        match what:
            case "work":
                world.work()
            case "crash":
                world.work(self._interruption("crash"))
            case "freeze":
                zombie = world.freeze(self._interruption("freeze"))
                self._zombies += [zombie] if zombie else []
            case "wake":
                self.wake()
            case "retry":
                world.store.retry(world.session_id, actor="chaos", reason="try again")
            case "ask":
                self._ask()
            case "give up":
                world.store.give_up(world.session_id, actor="chaos", reason="no more")
            case "token":
                world.site.token = draw.choice((self._token, "another"))
            case "down":
                world.site.is_down = not world.site.is_down
            case "strip":
                for issue in world.site.issues:
                    for label in issue.labels:
                        world.site.strip_label(issue.key, label)
            case "probe":
                world.probe()
        self._pass_time()

    def _pass_time(self) -> None:
        """Let time pass, in most cases exactly until the sync is due."""
        draw, world = self._draw, self._world
        due = world.state().next_attempt_at
        if due and draw.random() < 0.6:
            world.clock.advance(max(0.0, due.timestamp() - world.clock()) + 0.001)
        else:
            world.clock.advance(draw.choice((0.1, 1, 5, 20, 60, 200)) * draw.random())

    def _calm(self) -> None:
        """Check that without faults the sync ends with one ticket, by itself or after an operator's retry."""
        world = self._world
        self.wake()
        for _ in range(_CALM_TURNS):
            state = world.state()
            if state.state == "done" and state.next_attempt_at is None:
                break
            if state.state in _PERSONS:
                self._tally.events[f"needed a person: {state.reason}"] += 1
                world.store.retry_all_blocked(actor="chaos", reason="mended")
                world.store.retry(world.session_id, actor="chaos", reason="mended")
            world.probe()
            world.work()
            self._check()
            world.clock.advance(self._draw.uniform(5, 90))
        self._must_be_done()

    def _must_be_done(self) -> None:
        world = self._world
        state = world.state()
        if state.state != "done":
            raise self._broken(f"ends as {state.summary()}")
        issues = world.site.issues
        if len(issues) != 1:
            raise self._broken(f"{len(issues)} tickets: {', '.join(issue.key for issue in issues)}")
        session = world.sessions.get_session(world.session_id)
        if session is None or session.status != "synced" or session.jira_key != issues[0].key:
            raise self._broken(f"the session has {session and session.jira_key}, Jira {issues[0].key}")
        if state.duplicates:
            raise self._broken(f"the audit reports {state.duplicates}")
        self._tally.attempts[state.attempts] += 1
        self._tally.events[f"ticket {state.origin}"] += 1

    def _check(self) -> None:
        """Check what must hold at each moment: one ticket at most, no wrong key, no wait without an end."""
        world = self._world
        issues = world.site.issues
        if len(issues) > 1:
            raise self._broken(f"{len(issues)} tickets: {', '.join(issue.key for issue in issues)}")
        state = world.state()
        if state.state in (*_PERSONS, "retry_wait", "unknown") and not state.reason:
            raise self._broken(f"{state.state} without a reason")
        if state.state in ("pending", "inflight", "retry_wait", "unknown") and state.next_attempt_at is None:
            raise self._broken(f"{state.state}, and nothing will happen")
        session = world.sessions.get_session(world.session_id)
        if session and session.jira_key and session.jira_key not in {issue.key for issue in issues}:
            raise self._broken(f"the session has {session.jira_key}, which is no ticket")

    def _broken(self, what: str) -> Broken:
        attempts = "; ".join(attempt.summary() for attempt in self._world.detail().attempts)
        return Broken(f"seed {self._seed}: {what} (attempts: {attempts})")

    def _ask(self) -> None:
        self._drafts += 1
        self._world.ask(f"Draft {self._drafts}", f"1700000{self._draw.randint(100, 999)}.000100")

    def wake(self) -> None:
        """Let all frozen workers run to their end."""
        for zombie in self._zombies:
            zombie.wake()
        self._zombies.clear()

    def _interruption(self, kind: str) -> Interruption:
        draw = self._draw
        return Interruption(draw.randint(1, _MOST_STEPS), draw.choice(("before", "after")), kind)  # type: ignore[arg-type]

    def _fault(self, endpoint: str, _body: object) -> Fault | None:
        draw = self._draw
        if draw.random() > (0.85 if endpoint == "create" else 0.15):
            return None
        faults: list[Fault] = [
            DropBeforeCommit(),
            Status(draw.choice((500, 502, 503, 504))),
            Hang(60, committed=False),
            Throttle(draw.choice((None, 1, 30)), draw.choice((BURST, GLOBAL_QUOTA))),
            HtmlRefusal(draw.choice((400, 403))),
            Redirect(),
            Refuse(draw.choice((401, 403, 404, 422)), ("no",)),
            Slow(draw.uniform(0, 4)),
        ]
        if endpoint == "create" and draw.random() < 0.8:
            faults = [
                CommitThenDrop(),
                CommitThenStatus(draw.choice((500, 503, 504))),
                CommitLate(draw.uniform(1, LATEST_COMMIT), draw.choice(("drop", "status", "hang"))),
                Hang(60, committed=True),
                Truncated(),
                NotJson(),
                StripLabel(),
                Refuse(400, ("Summary is not to my taste",)),
            ]
        return draw.choice(faults)
