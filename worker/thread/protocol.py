"""Write one thing to a ticket once, whatever fails and whenever a process dies.

    look          it is there                              over
                  an earlier write may still appear        later
                  it is not there                          go on
    prepare       read what is to be written from Slack; nothing of it is kept
    begin         commit to the write, with its deadline, before it is sent
    write         once
    decide        what follows, for the one write to the database that ends the claim

Whatever call a process dies at, the next claim finds whether a write may have been sent, and looks first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from worker.http_once import NotSent
from worker.jira.answers import CallFailed
from worker.thread.decide import (
    Failed,
    Impossible,
    Later,
    Missing,
    NotYet,
    Over,
    Present,
    Situation,
    TicketGone,
    Write,
    Written,
    decide_step,
)

COMMIT_SECONDS: Final = 5.0
"""Most seconds between the commit to a write and its sending; after them it is not sent."""

_LATE: Final = NotSent("too much time passed before it could be sent")


class Work(Protocol):
    """The calls of one step. Each is made at most once a run, in this order."""

    def look(self) -> Present | Missing | TicketGone:
        """Look whether it is on the ticket. Raises ``CallFailed``."""

    def prepare(self) -> NotYet | Impossible | None:
        """Read what is to be written; None when it is ready."""

    def begin(self) -> bool:
        """Commit to the write; False when the claim is lost."""

    def write(self) -> Written | TicketGone:
        """Write it, once. Raises ``CallFailed``."""


def run_step(
    work: Work, situation: Callable[[], Situation], monotonic: Callable[[], float]
) -> Later | Over | None:
    """Run a step as far as possible now; None when the claim is lost.

    Args:
        situation: of the moment in which it is called.
        monotonic: seconds, as this process measures them.
    """
    # From before the look: what appears meanwhile is not seen by it.
    at = situation()
    try:
        following = decide_step(work.look(), at)
    except CallFailed as exc:
        following = decide_step(Failed(exc.answer, wrote=False, request=exc.request), at)
    if not isinstance(following, Write):
        return following
    if waits := work.prepare():
        return _end(waits, situation())
    sendable_until = monotonic() + COMMIT_SECONDS
    if not work.begin():
        return None
    if monotonic() > sendable_until:
        return _end(Failed(_LATE, wrote=True), situation())
    try:
        return _end(work.write(), situation())
    except CallFailed as exc:
        return _end(Failed(exc.answer, wrote=True, request=exc.request), situation())


def _end(outcome: NotYet | Impossible | Failed | Written | TicketGone, at: Situation) -> Later | Over:
    # An earlier write is in doubt no longer: the look has settled it.
    following = decide_step(outcome, replace(at, deadline=None))
    assert not isinstance(following, Write)  # noqa: S101 - only a look leads to a write
    return following
