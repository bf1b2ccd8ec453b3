"""What becomes of a command that did not succeed: it waits and runs again, or it fails for good. Pure.

| error | what happens |
|---|---|
| Postgres away, or slower than the time limit | waits, for as long as it takes |
| no session for the thread yet | waits, `SESSION_WAIT_SECONDS` in all: its `get_or_create` may be behind it |
| any other | fails for good: dead letter |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from billiard.exceptions import SoftTimeLimitExceeded
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from worker.errors import DatabaseUnavailable, SessionNotFound, ThreadsyncError, as_ours

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 2.0
"""A waiting message fills a worker's memory; with kombu's own channel it is delivered twice if it is long."""


class History(BaseModel):
    """What a message has been through; it travels in the message's header ``threadsync``.

    ``waited`` adds up the pauses for a missing session, not the time that passed: while workers are down
    or the broker is, nobody's patience runs out. ``pause`` is how long whoever takes this copy is to wait,
    from then on and by a clock of its own: an ``eta`` would be a moment by the sender's clock.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    pauses: int = Field(0, ge=0)
    waited: float = Field(0.0, ge=0)
    counted: bool = False
    pause: float = Field(0.0, ge=0, le=LONGEST_PAUSE_SECONDS)
    first_attempt_at: AwareDatetime | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Run it again in ``seconds``; ``history`` goes with it."""

    seconds: float
    history: History
    reason: ThreadsyncError


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It fails for good, with ``error``."""

    error: ThreadsyncError


def decide(error: BaseException, history: History, patience: float, jitter: float) -> Wait | GiveUp:
    """What becomes of the command.

    Args:
        patience: seconds that a command waits for its session.
        jitter: 0 to 1, drawn by the caller: spreads what waits for the same thing.
    """
    if isinstance(error, SoftTimeLimitExceeded):
        error = DatabaseUnavailable("the command took longer than its time limit")
    # The exponent is bounded because the number of pauses is not.
    longest = min(FIRST_PAUSE_SECONDS * 2 ** min(history.pauses, 10), LONGEST_PAUSE_SECONDS)
    pause = longest * (0.5 + jitter / 2)
    if isinstance(error, DatabaseUnavailable):
        return Wait(pause, _after(history, 0), error)
    if isinstance(error, SessionNotFound) and history.waited < patience:
        pause = min(pause, patience - history.waited)
        return Wait(pause, _after(history, pause), error)
    return GiveUp(as_ours(error))


def _after(history: History, waited: float) -> History:
    return history.model_copy(update={"pauses": history.pauses + 1, "waited": history.waited + waited})
