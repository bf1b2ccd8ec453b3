"""One run of chaos: a session asks for its ticket amid faults, and must have it once they stop."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Literal

from sandbox.chaos.faults import Faults
from sandbox.chaos.interruptions import Interruption
from sandbox.chaos.promises import PERSONS, breaches, shortfalls
from sandbox.chaos.world import ACCOUNTS, ANN, GRACE, LEAVER, STRANGER, Login, World, Zombie
from worker.db.pool import Pool
from worker.http_once import Unknown
from worker.jira.answers import CallFailed
from worker.jira.decide import REPORTER_REFUSED

SETTLE_SECONDS: Final = 600
LONGEST_LAG: Final = 120
_STORMY_TURNS: Final = 30
_CALM_TURNS: Final = 250
_MOST_STEPS: Final = 9
_MOST_TOLD: Final = 15
_MOST_STEPS_AFTER: Final = 25
_EVENTS: Final = {
    "work": 10.0,
    "crash": 4.0,
    "freeze": 3.0,
    "follow": 8.0,
    "follow and crash": 3.0,
    "follow and freeze": 2.0,
    "wake": 2.0,
    "retry": 2.0,
    "ask": 1.0,
    "give up": 0.3,
    "unlink": 0.7,
    "unlink and link again": 0.4,
    "log in": 0.8,
    "token": 0.3,
    "scope": 0.3,
    "gateway only": 0.3,
    "reporter refused": 0.6,
    "access tokens end": 0.4,
    "down": 0.3,
    "slack down": 0.3,
    "strip": 0.5,
    "probe": 1.0,
}
"""Weights of the events of a storm."""

_LOGINS: Final[tuple[Login, ...]] = ("classic", "scoped", "oauth")
_PEOPLE: Final = (ANN, ANN, GRACE, LEAVER, STRANGER, None)


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
        self._include = draw.choice(("link", "text", "files", "files"))
        self._names_requester = draw.random() < 0.5
        self._number_of_others = 0

    def go(self) -> Tally:
        world, draw, faults = self._world, self._draw, Faults(self._draw)
        world.site.skip_keys(draw.choice((0, 0, 7, 60)))
        world.site.logins.token_seconds = draw.choice((30, 300, 3600))
        world.change_login(draw.choice(_LOGINS))
        if self._names_requester:
            world.name_requesters(self._account_of)
        world.include(self._include)
        world.write_thread(messages=draw.choice((1, 5, 40)), letters=draw.choice((20, 1_500)), files=2)
        self._ask()
        world.site.plan, world.slack.plan = faults.of_jira, faults.of_slack
        for _ in range(_STORMY_TURNS):
            self._happen()
            self._check()
        self._end_the_storm()
        self._calm()
        self._tally.faults = Counter(world.site.met)
        return self._tally

    def _happen(self) -> None:
        """Cause one event, drawn by weight, then let some time pass."""
        draw, world = self._draw, self._world
        what = draw.choices(tuple(_EVENTS), tuple(_EVENTS.values()))[0]
        self._tally.events[what] += 1
        match what:
            case "work":
                world.work()
            case "crash":
                world.work(self._interruption("crash"))
            case "follow":
                world.follow()
            case "follow and crash":
                world.follow(self._interruption("crash", _MOST_STEPS_AFTER))
            case "freeze":
                self._freeze(self._interruption("freeze"))
            case "follow and freeze":
                self._freeze(self._interruption("freeze", _MOST_STEPS_AFTER), follows=True)
            case "wake":
                self.wake()
            case "probe":
                world.probe()
            case "strip":
                for issue in world.site.issues:
                    for label in issue.labels:
                        world.site.strip_label(issue.key, label)
            case "retry" | "ask" | "give up" | "unlink" | "unlink and link again":
                self._act(what)
            case _:
                self._change_logins(what)
        self._pass_time()

    def _act(self, what: str) -> None:
        """Do what a person does."""
        world = self._world
        match what:
            case "retry":
                world.store.retry(world.session_id, actor="chaos", reason="try again")
            case "ask":
                self._ask()
            case "give up":
                world.store.give_up(world.session_id, actor="chaos", reason="no more")
            case "unlink":
                world.unlink()
            case _:
                if key := world.unlink():
                    world.clock.advance(self._draw.uniform(0, 60))
                    world.link(key)

    def _change_logins(self, what: str) -> None:
        """Change who may log in to Jira and do what, and whether Jira and Slack are there."""
        draw, site = self._draw, self._world.site
        match what:
            case "log in":
                self._world.change_login(draw.choice(_LOGINS))
            case "token":
                site.token = draw.choice((self._token, "another"))
            case "scope":
                site.logins.denied = set() if site.logins.denied else {draw.choice(("create", "comment.add"))}
            case "gateway only":
                site.logins.scoped_only = not site.logins.scoped_only
            case "reporter refused":
                site.configure("PROJ", reporter_settable=not site.project("PROJ").reporter_settable)
            case "access tokens end":
                site.logins.revoke_access_tokens()
            case "down":
                site.is_down = not site.is_down
            case "slack down":
                self._world.slack.is_down = not self._world.slack.is_down

    def _end_the_storm(self) -> None:
        world = self._world
        world.site.plan = world.slack.plan = None
        world.site.token, world.site.is_down = self._token, False
        world.site.logins.denied, world.site.logins.scoped_only = set(), False
        world.site.configure("PROJ", reporter_settable=True)
        world.slack.is_down = False
        world.change_login(self._draw.choice(_LOGINS))

    def _pass_time(self) -> None:
        """Let time pass, in most cases exactly until the sync is due."""
        draw, world = self._draw, self._world
        due = world.next_due() if draw.random() < 0.6 else None
        if due is not None:
            world.clock.advance(max(0.0, due.timestamp() - world.clock()) + 0.001)
        else:
            world.clock.advance(draw.choice((0.1, 1, 5, 20, 60, 200)) * draw.random())

    def _calm(self) -> None:
        """Check that without faults all ends well, by itself or after an operator's retry."""
        world = self._world
        self.wake()
        for _ in range(_CALM_TURNS):
            state = world.state()
            if world.lacks_a_ticket():
                # It was unlinked, and nobody has asked for another one since.
                self._ask()
            elif world.next_due() is None and state.state == "done":
                break
            if state.state in PERSONS:
                self._tally.events[f"needed a person: {state.reason}"] += 1
                world.store.retry_all_blocked(actor="chaos", reason="mended")
                world.store.retry(world.session_id, actor="chaos", reason="mended")
            if state.reason == "cannot_see":
                # What one account does not see another one may: a person tries the logins that there were.
                world.change_login(self._draw.choice(_LOGINS))
                self._make_another()
            world.probe()
            world.work()
            world.follow()
            self._check()
            due = world.next_due()
            if due is not None:
                world.clock.advance(max(0.0, due.timestamp() - world.clock()))
            world.clock.advance(self._draw.uniform(1, 30))
        for shortfall in shortfalls(world, self._include):
            raise self._broken(shortfall)
        refused = [attempt for attempt in world.detail().attempts if attempt.reason == REPORTER_REFUSED]
        self._tally.events["create without the refused reporter"] += len(refused)
        named = [issue for issue in world.site.issues if issue.reporter in ACCOUNTS.values()]
        self._tally.events["ticket with its requester as the reporter"] += len(named)
        state = world.state()
        self._tally.attempts[state.attempts] += 1
        self._tally.events[f"ticket {state.origin}"] += 1

    def _check(self) -> None:
        for breach in breaches(self._world):
            raise self._broken(breach)

    def _broken(self, what: str) -> Broken:
        detail = self._world.detail()
        attempts = "; ".join(attempt.summary() for attempt in detail.attempts[-_MOST_TOLD:])
        steps = "; ".join(step.summary() for step in detail.steps)
        return Broken(f"seed {self._seed}: {what} (attempts: {attempts}) (steps: {steps})")

    def _ask(self) -> None:
        self._drafts += 1
        # Drafts may come late and out of order.
        drafted_at = self._world.clock() - self._draw.choice((0, 0, self._draw.uniform(0, 60)))
        self._world.ask(f"Draft {self._drafts}", f"{drafted_at:.6f}", self._draw.choice(_PEOPLE))

    def _account_of(self, user_id: str) -> str | None:
        if self._draw.random() < 0.1:
            raise CallFailed(Unknown("no answer"), "user")
        return ACCOUNTS.get(user_id)

    def _make_another(self) -> None:
        """Let another ticket name a reporter: an account that reads it would see ours, too."""
        if self._names_requester:
            self._number_of_others += 1
            fraction = f"{self._number_of_others:06}"
            self._world.make_another(f"{self._world.thread[1].partition('.')[0]}.{fraction}")

    def _freeze(self, interruption: Interruption, *, follows: bool = False) -> None:
        zombie = self._world.freeze(interruption, follows=follows)
        self._zombies += [zombie] if zombie else []

    def wake(self) -> None:
        """Let all frozen workers run to their end."""
        for zombie in self._zombies:
            zombie.wake()
        self._zombies.clear()

    def _interruption(self, kind: Literal["crash", "freeze"], most: int = _MOST_STEPS) -> Interruption:
        draw = self._draw
        when: Literal["before", "after"] = draw.choice(("before", "after"))
        return Interruption(draw.randint(1, most), when, kind)
