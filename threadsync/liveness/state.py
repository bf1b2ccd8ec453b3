"""What the broker knows of queues and workers, as ``threadsync.liveness.verdicts`` judges it. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Waiting:
    """What lies in a queue. ``oldest_seconds`` is None when nothing there says when it was sent.

    ``later`` are messages whose time has not come; None where the broker cannot tell them by their queue.
    """

    messages: int
    oldest_seconds: float | None
    later: int | None = None


@dataclass(frozen=True)
class QueueUse:
    """Seconds since the broker answered the worker's question for messages, and since a message ended."""

    asked: float | None
    ended: float | None


@dataclass(frozen=True)
class WorkerSign:
    """A worker's last report: seconds since it, and since it began to report without a pause.

    ``queues`` are those that the worker was started for.
    """

    seconds: float
    up_seconds: float
    queues: Mapping[str, QueueUse]


@dataclass(frozen=True)
class Skew:
    """How far a process's clock is ahead of the broker's and of Postgres', in seconds; None: not measured.

    What the way there and back leaves in doubt is taken off, so that 0.0 is said where they may agree.
    """

    broker: float | None = None
    database: float | None = None

    @property
    def largest(self) -> float:
        """The larger of the two, with its sign."""
        return max((self.broker or 0.0, self.database or 0.0), key=abs)


@dataclass(frozen=True)
class Place:
    """Which database a worker's process last wrote to: seconds since it said so, and since it first did."""

    database: str
    seconds: float
    since: float


@dataclass(frozen=True)
class Signs:
    """All that is known, in seconds before now.

    Attributes:
        queues: what waits.
        canaries: since the queue's last canary came through.
        workers: by node name, such as ``sessions@host``.
        beat: since beat's last canaries; ``beat_up`` since it began to send them without a pause.
        unacknowledged: messages that workers have, and that have not ended.
        skews: of clocks, by node name, or ``beat``.
        places: by node name.
        refusal: why the broker takes no new message now; None if it does.
        sockets: since Slack said anything to a process of Socket Mode, by its host and process id.
        unreadable: fields among the signs that are none, here and taken out within the last hour.
        is_blind: the broker refuses so much that nothing could be looked at; ``refusal`` says why.
    """

    queues: Mapping[str, Waiting]
    canaries: Mapping[str, float]
    workers: Mapping[str, WorkerSign]
    beat: float | None
    beat_up: float | None
    unacknowledged: int
    skews: Mapping[str, Skew] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    refusal: str | None = None
    sockets: Mapping[str, float] = field(default_factory=dict)
    is_blind: bool = False
    unreadable: int = 0
