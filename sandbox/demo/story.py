"""The demo's story in Slack: threads, the users' actions in them, and each thread's expected end. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from handlers.mapping import CREATE_BUTTON, OPEN_SHORTCUT, READY_BUTTON
from handlers.ticket_form import DESCRIPTION, SUMMARY, ticket_form
from sandbox.slack.requests import (
    app_mention,
    button_click,
    message,
    message_shortcut,
    slash_command,
    view_submission,
)
from threadsync.types import Status

CHANNELS: Final = ("C0SUPPORT", "C0BILLING", "C0MOBILE", "C0PLATFORM")
PEOPLE: Final = tuple(f"U0{name}" for name in ("ADA", "BEN", "CLEO", "DAN", "EVE", "FINN"))
OTHER: Final = "OTHER"
"""Project of the tickets made by hand, to which users link their threads."""

_SENTENCES: Final = (
    "the export stops at page two",
    "invoices show yesterday's date",
    "login loops on the old app",
    "webhooks arrive twice",
    "the graph is empty after midnight",
)
_LATE: Final = 0.12
"""Longest delay of a step after the one that it follows, as a part of the whole story."""


@dataclass(frozen=True)
class Thread:
    """One thread, and the expected end of its session.

    ``jira_key`` is the ticket that a user names; a ticket that is created gets its key from Jira.
    """

    channel_id: str
    thread_ts: str
    status: Status
    jira_key: str | None

    @property
    def asks_for_ticket(self) -> bool:
        return self.status == "synced" and self.jira_key is None


@dataclass(frozen=True, order=True)
class Step:
    """One request that Slack sends, ``at`` 0 to 1 in the story."""

    at: float
    payload: dict[str, Any] = field(compare=False)
    redelivery: int = field(default=0, compare=False)
    is_double: bool = field(default=False, compare=False)
    """True for the second event of a mention: Slack sends it as a message too, under another event id."""

    @property
    def is_event(self) -> bool:
        """Return True for an event, which Slack repeats until it is acknowledged, unlike a click."""
        return "event" in self.payload


@dataclass(frozen=True)
class Story:
    """All threads, and all requests of Slack in the order of their arrival."""

    threads: tuple[Thread, ...]
    steps: tuple[Step, ...]


def tell(threads: int, first_ts: int, seed: int) -> Story:
    """Make up a story of ``threads`` threads, with timestamps from ``first_ts`` on, in Unix seconds."""
    draw = random.Random(seed)  # noqa: S311 - a story, not a secret
    cast = tuple(_cast(draw, number, first_ts + number) for number in range(threads))
    steps = sorted(step for thread in cast for step in _happenings(draw, thread))
    return Story(cast, tuple(steps))


def _cast(draw: random.Random, number: int, second: int) -> Thread:
    status: Status = draw.choices(("collecting", "ready_to_sync", "synced"), (3, 2, 5))[0]
    is_linked = status == "synced" and draw.random() < 0.25
    key = f"{OTHER}-{second % 100_000 + 1}" if is_linked else None
    return Thread(CHANNELS[number % len(CHANNELS)], f"{second}.{number + 100:06}", status, key)


def _happenings(draw: random.Random, thread: Thread) -> Iterator[Step]:
    begins = draw.uniform(0, 1 - 4 * _LATE)
    for step in (*_conversation(draw, thread, begins), *_progress(draw, thread, begins)):
        yield step
        if draw.random() < 0.15:
            # Our response was lost or late, so Slack sends the event again.
            yield Step(step.at + draw.uniform(0, _LATE), step.payload, 1) if step.is_event else step


def _conversation(draw: random.Random, thread: Thread, begins: float) -> Iterator[Step]:
    where, text = thread.channel_id, draw.choice(_SENTENCES)
    opener = draw.choice(PEOPLE)
    if draw.random() < 0.2:
        shortcut = message_shortcut(OPEN_SHORTCUT, where, opener, ts=thread.thread_ts)
        yield Step(begins, shortcut)
    else:
        yield Step(begins, app_mention(where, opener, f"<@U0BOT> {text}", ts=thread.thread_ts))
        double = message(where, opener, f"<@U0BOT> {text}", ts=thread.thread_ts)
        yield Step(begins, double, is_double=True)
    for number in range(draw.randint(1, 4)):
        ts = f"{thread.thread_ts.split('.')[0]}.{900_000 + number:06}"
        reply = message(where, draw.choice(PEOPLE), "same here", ts=ts, thread_ts=thread.thread_ts)
        yield Step(begins + draw.uniform(-_LATE, 2 * _LATE), reply)


def _progress(draw: random.Random, thread: Thread, begins: float) -> Iterator[Step]:
    where, who = thread.channel_id, draw.choice(PEOPLE)
    # It may come before the thread's first message too: queues keep no order.
    at = begins + draw.uniform(-_LATE / 2, 3 * _LATE)
    if thread.status == "ready_to_sync" or (thread.jira_key and draw.random() < 0.5):
        ready = button_click(READY_BUTTON, thread.thread_ts, where, who, message_ts=thread.thread_ts)
        yield Step(at, ready)
    if thread.asks_for_ticket:
        yield Step(at, _filled_form(draw, thread, who))
    if thread.jira_key:
        link = slash_command(f"link {thread.jira_key} {thread.thread_ts}", where, who)
        yield Step(at + draw.uniform(-_LATE, _LATE), link)


def _filled_form(draw: random.Random, thread: Thread, who: str) -> dict[str, Any]:
    click = button_click(CREATE_BUTTON, thread.thread_ts, thread.channel_id, who, message_ts=thread.thread_ts)
    written = {SUMMARY: draw.choice(_SENTENCES), DESCRIPTION: f"Seen by <@{who}>, since this morning."}
    return view_submission(ticket_form(click), written, who)
