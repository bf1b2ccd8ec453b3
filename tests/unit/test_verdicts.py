"""Verdicts on queues and workers, judged from heartbeats and canaries."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from threadsync.liveness.state import Heartbeats, QueueUse, Waiting, WorkerHeartbeat
from threadsync.liveness.verdicts import verdict_on_queue, verdict_on_worker

FRESH, OLD = 3.0, 50.0


def heartbeats(
    *,
    canary: float | None = None,
    ended: float | None = None,
    oldest: float | None = None,
    beat: float | None = None,
    beat_up: float | None = None,
) -> Heartbeats:
    workers: Mapping[str, WorkerHeartbeat] = {
        "sessions@one": WorkerHeartbeat(1, 100, {"sessions": QueueUse(FRESH, ended)}),
        "sessions@two": WorkerHeartbeat(1, 100, {"sessions": QueueUse(FRESH, None)}),
        "syncs@one": WorkerHeartbeat(1, 100, {"syncs": QueueUse(FRESH, FRESH)}),
    }
    return Heartbeats(
        queues={"sessions": Waiting(0 if oldest is None else 1, oldest)},
        canaries={} if canary is None else {"sessions": canary},
        workers=workers,
        beat=beat,
        beat_up=beat_up,
        unacknowledged=0,
    )


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (heartbeats(canary=FRESH, beat=FRESH, beat_up=OLD), "ok"),
        (heartbeats(canary=OLD, ended=FRESH, oldest=OLD, beat=FRESH, beat_up=OLD), "ok"),
        (heartbeats(canary=OLD, beat=FRESH, beat_up=OLD), "deaf"),
        (heartbeats(canary=OLD, ended=OLD, beat=FRESH, beat_up=OLD), "deaf"),
        (heartbeats(beat=FRESH, beat_up=OLD), "deaf"),
        (heartbeats(oldest=OLD), "deaf"),
        (heartbeats(canary=OLD, oldest=OLD), "deaf"),
        (heartbeats(canary=OLD, oldest=FRESH), "unwatched"),
        (heartbeats(beat=FRESH, beat_up=FRESH), "unwatched"),
        (heartbeats(canary=OLD, beat=OLD, beat_up=OLD + 100), "unwatched"),
        (heartbeats(), "unwatched"),
    ],
    ids=[
        "a canary came through",
        "a long queue that moves",
        "canaries go in and none comes out",
        "a worker takes, and ends nothing",
        "nobody ever took one",
        "a message waits, without beat",
        "a message waits, and the last one came out long ago",
        "a message waits since a moment ago",
        "beat has only just begun",
        "beat is dead",
        "nothing is known",
    ],
)
def test_a_queue(found: Heartbeats, state: str) -> None:
    """A queue is judged by what comes out of it, not by a worker that asks for messages."""
    assert verdict_on_queue(found, "sessions").state == state


@pytest.mark.parametrize(
    ("seconds", "up", "asked", "ended", "state"),
    [
        (FRESH, 100, FRESH, None, "ok"),
        (FRESH, 100, OLD, FRESH, "ok"),
        (FRESH, 100, OLD, OLD, "deaf"),
        (FRESH, 100, None, None, "deaf"),
        (FRESH, FRESH, None, None, "ok"),
        (30, 100, FRESH, FRESH, "deaf"),
    ],
    ids=["idle", "full", "frozen", "cancelled", "starting", "silent"],
)
def test_a_worker(seconds: float, up: float, asked: float | None, ended: float | None, state: str) -> None:
    """A worker is well if it asks for messages of each of its queues, or is full and ends some."""
    sign = WorkerHeartbeat(seconds, up, {"sessions": QueueUse(asked, ended), "syncs": QueueUse(FRESH, None)})
    assert verdict_on_worker(sign).state == state


def test_the_reason_names_what_to_do() -> None:
    """The reason names the queue, the time and the remedy."""
    why = verdict_on_queue(heartbeats(canary=OLD, beat=FRESH, beat_up=OLD), "sessions").why
    assert "50 s" in why
    assert "restart the worker that takes from sessions" in why
    assert "is beat running?" in verdict_on_queue(heartbeats(), "sessions").why
