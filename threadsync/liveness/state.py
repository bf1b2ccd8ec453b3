"""State of queues and workers, as read from the broker and judged by ``threadsync.liveness.verdicts``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Waiting:
    """Messages of a queue. ``oldest_seconds`` is None when none there says when it was sent.

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
class WorkerHeartbeat:
    """A worker's last report: seconds since it, and since it began to report without a pause.

    ``queues`` are those that the worker was started for.
    """

    seconds: float
    up_seconds: float
    queues: Mapping[str, QueueUse]


@dataclass(frozen=True)
class Skew:
    """Seconds by which a process's clock is ahead of the broker's and of Postgres'; None: not measured.

    The doubt from the round trip is subtracted, so that 0.0 stands where they may agree.
    """

    broker: float | None = None
    database: float | None = None

    @property
    def largest(self) -> float:
        """The offset with the larger absolute value."""
        return max((self.broker or 0.0, self.database or 0.0), key=abs)


@dataclass(frozen=True)
class Place:
    """The database that a worker's process writes to; seconds since it last and first said so."""

    database: str
    seconds: float
    since: float


@dataclass(frozen=True)
class Heartbeats:
    """All that the broker knows of them; ages in seconds.

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
        unreadable: invalid fields among the heartbeats, present or removed within the last hour.
        is_blind: the broker refuses so much that nothing could be looked at; ``refusal`` says why.
    """

    queues: Mapping[str, Waiting]
    canaries: Mapping[str, float]
    workers: Mapping[str, WorkerHeartbeat]
    beat: float | None
    beat_up: float | None
    unacknowledged: int
    skews: Mapping[str, Skew] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    refusal: str | None = None
    sockets: Mapping[str, float] = field(default_factory=dict)
    is_blind: bool = False
    unreadable: int = 0
