"""Beat's scheduler: one message of each kind is on its way, however long no worker takes it.

Celery's ``expires`` compares two machines' clocks (ADR 13); here beat asks the broker before it sends. In
Valkey and Redis a hash says what is on its way, by the server's clock; the task takes its field away when it
begins (``begun``). A message that was lost is made up for: after its patience, then twice that, four times,
at most an hour. RabbitMQ drops what is too old itself (``expiration``), and a queue without a consumer gets
no second message.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from amqp.exceptions import ChannelError
from celery.beat import Scheduler, SchedulingError
from celery.schedules import schedstate, schedule

from threadsync.broker.errors import BROKER_ERRORS
from threadsync.broker.producer import ProducerChannel
from threadsync.liveness.heartbeats import CANARY_SECONDS, beat_sent_canaries
from threadsync.queues import QUEUES

SWEEP_SECONDS: Final = 2
"""Interval of the sweep that enqueues due syncs which have no message in the broker."""

SAMPLE_SECONDS: Final = 30
"""Interval at which the length of each queue is noted."""

SETTLE_SECONDS: Final = 60
"""Interval at which sessions that wait to be forgotten are looked for."""

RETAIN_SECONDS: Final = 3600
"""Interval at which rows older than their retention are deleted."""

SWEEP: Final = "sweep"
SETTLE: Final = "settle"
RETAIN: Final = "retain"
SAMPLE: Final = "sample"
CANARY_TASK: Final = "maintenance.canary"
SAMPLE_TASK: Final = "maintenance.sample"
SWEEP_TASK: Final = "syncs.sweep"
SETTLE_TASK: Final = "maintenance.settle"
RETAIN_TASK: Final = "maintenance.retain"

KEY: Final = "threadsync.beat"
_PATIENCE_INTERVALS: Final = 5
_LONGEST_PATIENCE_SECONDS: Final = 3600

# KEYS[4]: the hash. ARGV: entry, its patience, the longest. Returns 1 if one is to be sent, and notes it.
_MAY_SEND: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local sent, tries = (redis.call('HGET', KEYS[4], ARGV[1]) or ''):match('^(%S+) (%d+)$')
local age = sent and now - tonumber(sent) or -1
if age >= 0 and age < math.min(ARGV[2] * 2 ^ tries, ARGV[3]) then
  return 0
end
redis.call('HSET', KEYS[4], ARGV[1], string.format('%.6f %d', now, sent and tries + 1 or 0))
return 1
"""

# KEYS[4]: the hash. ARGV: entry.
_BEGUN: Final = "redis.call('HDEL', KEYS[4], ARGV[1])"


def beat_schedule() -> dict[str, Any]:
    """Build Celery's ``beat_schedule``. Any number of beats may run."""

    def every(seconds: float, task: str, **options: Any) -> dict[str, Any]:
        # RabbitMQ's own limit, by its own clock; Valkey and Redis know none.
        options["expiration"] = _PATIENCE_INTERVALS * seconds
        return {"task": task, "schedule": seconds, "options": options}

    canaries = {
        canary_entry(queue): {**every(CANARY_SECONDS, CANARY_TASK, queue=queue), "args": [queue]}
        for queue in QUEUES
    }
    return {
        SWEEP: every(SWEEP_SECONDS, SWEEP_TASK),
        SAMPLE: every(SAMPLE_SECONDS, SAMPLE_TASK),
        SETTLE: every(SETTLE_SECONDS, SETTLE_TASK),
        RETAIN: every(RETAIN_SECONDS, RETAIN_TASK),
        **canaries,
    }


def canary_entry(queue: str) -> str:
    """Return the name of the schedule's entry for a queue's canary."""
    return f"canary-{queue}"


def begun(channel: Any, entry: str) -> None:
    """Note that the entry's message has come to a worker, so that another one may be sent."""
    if isinstance(channel, ProducerChannel):
        channel.run_script(_BEGUN, [KEY], [entry])


class SteadyScheduler(Scheduler):
    """Scheduler of ``beat_scheduler``: it goes by a clock that is never set, and keeps no file."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._sent_at: dict[str, float] = {}
        super().__init__(*args, **kwargs)

    # The stubs say otherwise of entries: https://docs.celeryq.dev/en/stable/reference/celery.beat.html
    def is_due(self, entry: Any) -> Any:
        """Return if an entry is due: its interval is over since this process sent it, or never did."""
        interval = _interval(entry)
        if interval is None:
            return super().is_due(entry)
        sent_at = self._sent_at.get(str(entry.name))
        left = 0.0 if sent_at is None else sent_at + interval - time.monotonic()
        return schedstate(left <= 0, interval if left <= 0 else left)

    def reserve(self, entry: Any) -> Any:
        self._sent_at[str(entry.name)] = time.monotonic()
        return super().reserve(entry)

    def _when(self, entry: Any, next_time_to_run: float, *_: Any, **__: Any) -> float:
        """Order entries by a clock that is never set: if Celery's is set back, all but one entry stop."""
        return time.monotonic() + (next_time_to_run or 0)

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        """Send an entry's message; return None without sending if one is on its way already."""
        if not self._may_send(entry, producer):
            if entry.task == CANARY_TASK:
                # If not now, the next one will say that beat lives.
                with suppress(*BROKER_ERRORS):
                    beat_sent_canaries(producer.connection.default_channel)
            return None
        try:
            return super().apply_async(entry, producer=producer, advance=advance, **kwargs)
        except SchedulingError:
            self._say_that_none_is_on_its_way(entry, producer)
            raise

    def _may_send(self, entry: Any, producer: Any) -> bool:
        interval = _interval(entry)
        if producer is None or interval is None:
            return True
        try:
            channel = producer.connection.default_channel
            if isinstance(channel, ProducerChannel):
                limits = [_PATIENCE_INTERVALS * interval, _LONGEST_PATIENCE_SECONDS]
                return bool(channel.run_script(_MAY_SEND, [KEY], [entry.name, *limits]))
            # RabbitMQ's queue has a consumer, or is empty.
            messages, consumers = messages_and_consumers(producer.connection, self._queue_of(entry))
            return bool(consumers) or not messages
        except BROKER_ERRORS:
            # Publishing tries again, and tells what is wrong.
            return True

    def _say_that_none_is_on_its_way(self, entry: Any, producer: Any) -> None:
        # If it cannot be said, its patience ends.
        with suppress(*BROKER_ERRORS):
            if producer is not None:
                begun(producer.connection.default_channel, entry.name)

    def _queue_of(self, entry: Any) -> str:
        routed: Mapping[str, Any] = self.app.amqp.router.route(dict(entry.options), entry.task)
        return str(getattr(routed["queue"], "name", routed["queue"]))


def _interval(entry: Any) -> float | None:
    """Return an entry's interval in seconds; None where it runs by the calendar."""
    kind: Any = entry.schedule
    return float(kind.run_every.total_seconds()) if type(entry.schedule) is schedule else None


def messages_and_consumers(connection: Any, queue: str) -> tuple[int, int]:
    """Count a queue's messages and consumers (0 on Valkey and Redis). Raises ``BROKER_ERRORS``."""
    channel = connection.default_channel
    if isinstance(channel, ProducerChannel):
        # Not by declaring: kombu asks whether the key exists without its prefix.
        return int(channel._size(queue)), 0
    try:
        # RabbitMQ closes a channel on which a queue is asked for that is not there.
        with connection.channel() as asking:
            declared = asking.queue_declare(queue, passive=True)
    except ChannelError:
        # It is not declared yet.
        return 0, 0
    return int(declared.message_count), int(declared.consumer_count)
