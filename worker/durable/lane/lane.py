"""The fast lane in the worker's main process: chunks wait for a child, and their ends are noted."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import structlog
from celery.worker.state import all_total_count, revoked, total_count

from worker.durable.children import TakingConsumer
from worker.durable.lane.chunk import Chunk, Job, Outcome
from worker.durable.lane.opening import is_shut, why_closed
from worker.durable.lane.running import run_chunk
from worker.durable.qos import MOST_IN_CHUNK
from worker.durable.request import error_in

_REST_SECONDS: Final = 1.0
"""Pause of the lane while Postgres is away: each command waits by itself then."""

log = structlog.get_logger("threadsync.worker")


class Running:
    """A chunk that a child has, or is about to have."""

    def __init__(self, chunk: Chunk) -> None:
        self.chunk = chunk
        self.pid: int | None = None
        self.began_at: float | None = None

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        self.pid, self.began_at = pid, time.time() - (time.monotonic() - time_accepted)


class Lane:
    """Queue of a consumer's chunks that wait for a process of the pool."""

    def __init__(self, consumer: TakingConsumer) -> None:
        self._consumer = consumer
        self._waiting: deque[Chunk] = deque()
        self._running: set[Running] = set()
        self._is_in_line = False
        self._rests_until = 0.0

    @cached_property
    def tasks(self) -> tuple[Any, ...]:
        """The tasks whose commands may take the lane."""
        return tuple(task for task in self._consumer.app.tasks.values() if getattr(task, "in_lane", False))

    @cached_property
    def _names(self) -> str:
        if why := why_closed(self._consumer, self.tasks):
            log.info("the fast lane is closed", reason=why)
            return ""
        return f"|{'|'.join(task.name for task in self.tasks)}|"

    def names(self) -> str:
        """Return the names of the commands that may take it, as ``|one|other|``; empty while it is closed."""
        is_open = time.monotonic() >= self._rests_until and not is_shut(self._consumer, self.tasks)
        return self._names if is_open else ""

    def take(self, chunk: Chunk) -> None:
        """Carry the chunk out as soon as a process is free, with all that have come until then."""
        self._waiting.append(chunk)
        if not self._is_in_line:
            self._stand_in_line()

    def forget(self) -> None:
        """Forget the waiting chunks when the consumer closes: their messages are delivered again."""
        self._waiting.clear()
        self._running = {running for running in self._running if running.pid}
        self._is_in_line = False

    def waiting(self) -> Iterator[Chunk]:
        """Yield the chunks that no process has yet."""
        return iter(tuple(self._waiting))

    def running(self) -> Iterator[Running]:
        """Yield the chunks that were given to a process."""
        return iter(tuple(self._running))

    def _stand_in_line(self) -> None:
        self._is_in_line = True
        self._consumer.controller.semaphore.acquire(self._use_process)

    def _use_process(self) -> None:
        self._is_in_line = False
        if not self._waiting:
            self._consumer.controller.semaphore.release()
            return
        chunk = self._next()
        try:
            self._give(Running(chunk))
        except Exception as exc:  # noqa: BLE001 - whatever it is, the place in the pool is free again
            log.warning("chunk not given", count=len(chunk), reason=f"{type(exc).__name__}: {exc}")
            chunk.channel.qos.lane_given_back(chunk.tags)
            self._consumer.controller.semaphore.release()
        if self._waiting:
            self._stand_in_line()

    def _next(self) -> Chunk:
        """Return the first of the waiting chunks, with all that fit into it."""
        chunk = self._waiting.popleft()
        while self._waiting and len(chunk) + len(self._waiting[0]) <= MOST_IN_CHUNK:
            other = self._waiting[0]
            if (other.queue, other.channel) != (chunk.queue, chunk.channel):
                break
            chunk = chunk.joined(self._waiting.popleft())
        return chunk

    def _give(self, running: Running) -> None:
        task, chunk = self.tasks[0], running.chunk
        events = self._consumer.event_dispatcher
        tells = events and events.enabled and (not events.groups or "task" in events.groups)
        job = Job(
            chunk.messages,
            chunk.tags,
            frozenset(revoked),
            self._consumer.hostname if tells else "",
            self._consumer.app.clock.value,
            os.getpid(),
        )
        self._consumer.pool.apply_async(
            run_chunk,
            args=(job,),
            accept_callback=running.on_accepted,
            timeout_callback=self._on_timeout,
            callback=lambda outcome, **_: self._on_outcome(running, outcome),
            error_callback=lambda error, **_: self._on_failure(running, error),
            soft_timeout=task.soft_time_limit,
            timeout=task.time_limit,
            correlation_id=f"chunk-{id(running)}",
        )
        self._running.add(running)

    def _on_timeout(self, soft: bool, timeout: float) -> None:
        log.warning("a chunk runs out of time", soft=soft, seconds=timeout)

    def _on_outcome(self, running: Running, outcome: Outcome) -> None:
        self._running.discard(running)
        chunk = running.chunk
        if outcome.is_away:
            self._rests_until = time.monotonic() + _REST_SECONDS
        counts = Counter(dict(outcome.counts))
        total_count.update(counts)
        all_total_count[0] += counts.total()
        self._consumer.app.clock.adjust(outcome.clock)
        left = set(outcome.left_over)
        ended = [place for place in range(len(chunk)) if place not in left] if left else range(len(chunk))
        chunk.channel.qos.lane_ended(chunk.queue, chunk.only(ended).tags, is_told=outcome.is_told)
        if left and not chunk.channel.closed:
            chunk.channel.take_ordinary_road(chunk.only(outcome.left_over))

    def _on_failure(self, running: Running, exc_info: Any) -> None:
        """Hand each message back after the death of its process: it comes alone the next time."""
        self._running.discard(running)
        chunk = running.chunk
        log.warning("chunk handed back", count=len(chunk), reason=str(error_in(exc_info)))
        chunk.channel.qos.lane_given_back(chunk.tags)
