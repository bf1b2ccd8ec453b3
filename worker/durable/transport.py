"""kombu's Redis transport, without the instant at which a message is in neither of two keys.

kombu pops a message (BRPOP) and notes it as unacknowledged with a second command. A worker that is killed in
between loses it (ADR 6). Here both are one script.

The scripts, and the keys that they move messages between: ``worker.durable.scripts``. What ends them:
``worker.durable.qos``.

TAKE brings as many messages as the prefetch limit allows. A script runs whole or not at all, and may also
write where memory is full: so a full server is drained. Waiting for an empty queue is ``BLMOVE`` from its
right end to its right end: it wakes us and moves nothing. Producers may be stock Celery clients.

What kombu calls BRPOP (``_brpop_start``, ``_brpop_read``, ``_in_poll``) is our take or wait: its names, its
hooks, held in place by tests/integration/test_transport.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import Empty
from time import monotonic, sleep
from typing import Any, Final, NoReturn

import redis
from kombu.log import get_logger
from kombu.transport import redis as kombu_redis
from kombu.utils.encoding import bytes_to_str

from threadsync.broker.lua import WAITING
from threadsync.broker.producer import ProducerSentinelChannel, ProducerSentinelTransport, ProducerTransport
from threadsync.errors import named
from worker.durable import scripts
from worker.durable.channel import TolerantChannel
from worker.durable.deliveries import LARGEST_SUSPECT
from worker.durable.lane.chunk import Chunk, Door
from worker.durable.qos import DurableQoS
from worker.durable.raw_message import DurableMessage, Taken, payload_of

log = get_logger(__name__)

_BYTES_AT_ONCE: Final = 4 * 1024 * 1024
"""Bytes after which a run of TAKE ends: the worker holds its messages several times over."""

_LARGEST_SUSPECT_IN_NEED: Final = 4 * 1024 * 1024
"""Largest suspect once memory has run out. A message is a third larger than its body."""

_SHORT_WAIT_SECONDS: Final = 0.05
"""Interval at which further queues are looked at: only one can be waited on."""


class DurableChannel(TolerantChannel):
    """Channel that takes messages by script."""

    QoS = DurableQoS
    Message = DurableMessage

    # kombu's own, which the stubs do not know.
    connection: DurableTransport
    qos: DurableQoS
    _qos: DurableQoS | None
    _queue_cycle: Any
    _flush_brpop_reauth: Callable[[], None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._asked_for: Sequence[str] = ()
        self._answered_at: dict[str, float] = {}
        self._read_reply: Callable[[Any], None] = self._on_taken
        self._nothing_there = False
        self._most = 0
        self._most_of_lane = 0
        self._last_take: tuple[Any, ...] = ()
        self._last_packed: list[bytes] = []
        self.lane: Door | None = None
        """The fast lane of the consumer, for which TAKE picks messages out."""
        self._rests_until = 0.0
        self._largest_suspect = LARGEST_SUSPECT * 4 // 3
        super().__init__(*args, **kwargs)

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> Any:
        """Take a message now; None if there is none."""
        rows, *_lane = self.run_script(*self._take_arguments([queue], 1, noted=not no_ack))
        if not rows:
            return None
        taken = Taken.of(rows[0])
        message = self.Message(payload_of(taken, self), channel=self)
        if not no_ack:
            self.qos.append(message, taken.tag)
        return message

    def seconds_since_use(self, queue: str) -> tuple[float | None, float | None]:
        """Return seconds since the broker replied to TAKE for the queue, and since a message of it ended."""
        now = monotonic()
        asked, ended = self._answered_at.get(queue), self.qos.ended_at.get(queue)
        return None if asked is None else now - asked, None if ended is None else now - ended

    def _take_arguments(
        self, queues: Sequence[str], most: int, noted: bool = True, lane: tuple[int, str] = (-1, "")
    ) -> tuple[str, list[str], list[Any]]:
        # A share for each, so that a full queue does not starve the others.
        arguments: list[Any] = [most, max(1, most // len(queues)), len(queues)]
        arguments += [_BYTES_AT_ONCE, self._largest_suspect, *lane]
        lists = [(queue, self._q_for_pri(queue, step)) for step in self.priority_steps for queue in queues]
        places = [*((queue, f"{WAITING}{queue}") for queue in queues), *lists]
        keys = [key for _queue, key in places]
        for queue, _key in places:
            arguments += [queue, "1" if noted and queue not in self._no_ack_queues else "0"]
        return scripts.TAKE, keys, arguments

    def _take_as_many_as_fit(self, queues: Sequence[str]) -> tuple[str, list[str], list[Any]]:
        self._most = self.qos.credit
        names = self.lane.names() if self.lane else ""
        self._most_of_lane = self.qos.lane_credit if names else -1
        return self._take_arguments(queues, self._most, lane=(self._most_of_lane, names))

    def _packed(self, command: Sequence[Any]) -> list[bytes]:
        packed: list[bytes] = self.client.connection.pack_command(*command)
        return packed

    def _packed_take(self, queues: Sequence[str]) -> list[bytes]:
        """Return TAKE as bytes, mostly those of the last time: to pack it takes as long as to run it."""
        take = self._script_command(*self._take_as_many_as_fit(queues))
        if take != self._last_take:
            # In one piece, for one write.
            self._last_take, self._last_packed = take, [b"".join(self._packed(take))]
        return self._last_packed

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Ask for messages; after a reply without any, ask to be told when there may be some."""
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues or self._rests():
            return
        if self._nothing_there:
            command = self._packed(self._wait_command(queues, timeout or self.brpop_timeout))
            self._read_reply = self._on_woken
        else:
            command = self._packed_take(queues)
            self._read_reply = self._on_taken
        self._nothing_there = False
        self._asked_for = queues
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        self.client.connection.send_packed_command(command)

    def _rests(self) -> bool:
        """Return True during the pause after a refusal, timed here, as the server may refuse to wait too."""
        remaining = self._rests_until - monotonic()
        if remaining > 0 and self.connection.loop is None:
            # Nothing would wake us when it is over.
            sleep(remaining)
            return False
        return remaining > 0

    def _wait_command(self, queues: Sequence[str], seconds: float) -> tuple[Any, ...]:
        key = f"{self.global_keyprefix}{queues[0]}"
        if len(queues) > 1:
            self._queue_cycle.rotate(queues[0])
            seconds = _SHORT_WAIT_SECONDS
        return ("BLMOVE", key, key, "RIGHT", "RIGHT", seconds)

    def _brpop_read(self, **options: Any) -> bool:
        """Read the reply to what ``_brpop_start`` asked."""
        try:
            self._read_reply(self._reply(**options))
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _reply(self, **options: Any) -> Any:
        connection = self.client.connection
        try:
            reply = self.client.parse_response(connection, "EVAL", **options)
        except self.connection_errors:
            # So that the next round connects again.
            connection.disconnect()
            raise
        except redis.OutOfMemoryError as exc:
            # Taking goes on; it is BLMOVE that a full server refuses, though it would move nothing.
            self.warn("broker is full; it is asked again every second: %s", exc)
            self._rests_until = monotonic() + self.brpop_timeout
            raise Empty from exc
        except redis.ResponseError as exc:
            self._rest("broker refused; it is asked again every second: %s", exc)
        except MemoryError as exc:
            # The messages are overdue soon; after several deliveries the largest come without their content.
            self._largest_suspect = _LARGEST_SUSPECT_IN_NEED
            self._rest("no memory for what the broker has; it is asked again every second: %s", exc)
        self._answered_at.update(dict.fromkeys(self._asked_for, monotonic()))
        return reply

    def _on_woken(self, reply: Any) -> None:
        if reply is None:
            raise Empty
        # The message, which is to come once more: there may be no room for it twice.
        del reply
        # Not by way of the event loop, whose next round is later.
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            # Consuming has ended meanwhile.
            raise Empty
        self.client.connection.send_packed_command(self._packed_take(queues))
        self._on_taken(self._reply())

    def _rest(self, text: str, exc: Exception) -> NoReturn:
        """Wait after a refusal (full, wrong type, failover), and begin on a new connection."""
        self.warn(text, exc)
        self._rests_until = monotonic() + self.brpop_timeout
        self.client.connection.disconnect()
        raise Empty from exc

    def _on_taken(self, reply: Any) -> None:
        rows, queue, messages, tags = reply
        chunk = Chunk.of(queue, messages, tags, self) if tags else None
        # Less than there was room for: the queues are empty now, which need not be asked once more.
        brought = sum(len(row[1]) for row in rows) + len(messages)
        is_lane_full = self._most_of_lane >= 0 and (len(chunk) if chunk else 0) >= self._most_of_lane
        self._nothing_there = len(rows) < self._most and not is_lane_full and brought < _BYTES_AT_ONCE
        if not rows and chunk is None:
            raise Empty
        self._queue_cycle.rotate(bytes_to_str(rows[0][0] if rows else queue))
        if chunk:
            assert self.lane is not None  # noqa: S101 - it has given the names
            self.qos.hold(chunk.tags)
            self.lane.take(chunk)
        while rows:
            # Held no longer than needed.
            self._hand_on(Taken.of(rows.pop(0)))

    def take_ordinary_road(self, chunk: Chunk) -> None:
        """Hand the messages of a chunk on singly, as if TAKE had brought each of them so."""
        for message, tag in zip(chunk.messages, chunk.tags, strict=True):
            self.qos.let_go([tag])
            self._hand_on(Taken(chunk.queue, message, tag, 1, False, "", "", 0))

    def _hand_on(self, taken: Taken) -> None:
        """Hand a message on; if that fails it goes back, and after several deliveries is not opened here."""
        try:
            self.connection._deliver(payload_of(taken, self), taken.queue)
        except Exception as exc:
            if self._is_of_the_connection(exc):
                raise
            log.warning("a message goes back, it could not be received: %s", named(exc))
            self.qos.reject(taken.tag, requeue=True)


class DurablePoller(kombu_redis.MultiChannelPoller):
    """kombu's poller, which settles ended messages each time before the event loop waits."""

    _channels: set[DurableChannel]

    def on_poll_start(self) -> None:
        # Celery acknowledges in a callback of the loop; a callback of that one's would run after the wait.
        for channel in tuple(self._channels):
            if channel._qos is not None:
                channel._qos.flush()
        super().on_poll_start()


class DurableTransport(ProducerTransport):
    """The transport of Redis and Valkey."""

    Channel = DurableChannel
    loop: Any = None
    """The event loop, in a worker that has one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle = DurablePoller()

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        self.loop = loop
        super().register_with_event_loop(connection, loop)


class DurableSentinelChannel(DurableChannel, ProducerSentinelChannel):
    """The channel on the master that the sentinels name."""


class DurableSentinelTransport(DurableTransport, ProducerSentinelTransport):
    """The transport of ``sentinel://``."""

    Channel = DurableSentinelChannel
