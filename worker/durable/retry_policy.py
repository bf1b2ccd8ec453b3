"""Decide whether a command that did not succeed waits and runs again, or fails for good. Pure.

| error | what happens |
|---|---|
| Postgres away | waits, for as long as it takes |
| Postgres there, and it cannot do this; slower than the time limit | waits, `FAULT_PATIENCE_SECONDS` in all |
| no session for the thread yet | waits, `SESSION_WAIT_SECONDS` in all: its `get_or_create` may be behind it |
| any other | fails for good: dead letter |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from billiard.exceptions import SoftTimeLimitExceeded
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from threadsync.errors import DatabaseFault, DatabaseUnavailable, SessionNotFound, ThreadsyncError, as_ours

HEADER: Final = "threadsync"
"""Header of a message that a worker sends again, to run later."""

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 2.0
"""Longest pause: a waiting message fills memory, and kombu's own channel delivers it twice if it is long."""

LONGEST_FAULT_PAUSE_SECONDS: Final = 30.0
"""Longest pause after a fault, which an operator must fix: shorter ones would be of no use."""

FAULT_PATIENCE_SECONDS: Final = 3600.0
"""Sum of pauses for faults of the database after which a command is a dead letter."""


class History(BaseModel):
    """Pauses that a command has been through; travels in the message's header ``threadsync``.

    ``waited`` adds up the pauses for a missing session, not the time that passed: while workers are down
    or the broker is, no patience runs out. ``stuck`` does the same for faults of the database; no clock of
    any machine is in it. ``pause`` is how long the worker that takes this copy is to wait, from then on and
    by a clock of its own: an ``eta`` would be a moment by the sender's clock.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    # Anybody may write it: beyond what a command lives to see, and within what is made of it.
    pauses: int = Field(0, ge=0, lt=2**31 - 1)
    waited: float = Field(0.0, ge=0, le=1e9)
    stuck: float = Field(0.0, ge=0, le=1e9)
    counted: bool = False
    # The key of the record of its deaths, where that is not the task's id.
    record: str = Field("", max_length=255)
    pause: float = Field(0.0, ge=0, le=LONGEST_FAULT_PAUSE_SECONDS)
    first_attempt_at: AwareDatetime | None = None


def read_history(headers: Mapping[str, Any] | None) -> History:
    """Read the history in a message's headers; a malformed one of another client counts as none."""
    try:
        return History.model_validate((headers or {}).get(HEADER) or {})
    except ValidationError:
        return History()


@dataclass(frozen=True, slots=True)
class Wait:
    """Decision to run the command again in ``seconds``; ``history`` goes with it."""

    seconds: float
    history: History
    reason: ThreadsyncError


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Decision that the command fails for good, with ``error``."""

    error: ThreadsyncError


def decide(error: BaseException, history: History, patience: float, jitter: float) -> Wait | GiveUp:
    """Decide whether the command waits or fails for good.

    Args:
        patience: seconds that a command waits for its session.
        jitter: 0 to 1, drawn by the caller: spreads what waits for the same thing.
    """
    if isinstance(error, SoftTimeLimitExceeded):
        # A command that hangs because Postgres is away ends earlier, with a connection's error.
        error = DatabaseFault("the command took longer than its time limit")
    if isinstance(error, DatabaseFault):
        if history.stuck >= FAULT_PATIENCE_SECONDS:
            return GiveUp(error)
        pause = _pause(history, LONGEST_FAULT_PAUSE_SECONDS, jitter)
        return Wait(pause, _after(history, stuck=pause), error)
    pause = _pause(history, LONGEST_PAUSE_SECONDS, jitter)
    if isinstance(error, DatabaseUnavailable):
        return Wait(pause, _after(history), error)
    if isinstance(error, SessionNotFound) and history.waited < patience:
        pause = min(pause, patience - history.waited)
        return Wait(pause, _after(history, waited=pause), error)
    return GiveUp(as_ours(error))


def _pause(history: History, longest: float, jitter: float) -> float:
    # The exponent is bounded because the number of pauses is not.
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(history.pauses, 10), longest) * (0.5 + jitter / 2)


def _after(history: History, *, waited: float = 0, stuck: float = 0) -> History:
    return history.model_copy(
        update={
            "pauses": history.pauses + 1,
            "waited": history.waited + waited,
            "stuck": history.stuck + stuck,
        }
    )
