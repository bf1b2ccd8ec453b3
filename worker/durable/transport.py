"""kombu's Redis transport without the instant in which a message is nowhere.

kombu pops a message (BRPOP) and notes it as unacknowledged with a second command. A worker that is killed in
between loses it: measured, up to one message in every second kill under load. Here both are one script.

The scripts, and the keys that they move messages between: ``worker.durable.scripts``.

TAKE brings as many messages as the prefetch limit allows. Acknowledgements are gathered until the event
loop is about to wait, and told by one script: one that is lost with its worker only means one more run.
A script runs whole or not at all, and may also write where memory is full: so a full server is drained.
Waiting for an empty queue is ``BLMOVE`` from its right end to its right end: it wakes
us and moves nothing. Producers may be stock Celery clients.

What kombu calls BRPOP (``_brpop_start``, ``_brpop_read``, ``_in_poll``) is our take or wait: its names, its
hooks, held in place by tests/integration/test_transport.py.
"""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from queue import Empty
from time import monotonic, sleep
from typing import Any, Final, NoReturn

import redis
from kombu.log import get_logger
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps

from threadsync.broker.errors import is_about_the_way
from threadsync.broker.lua import WAITING
from threadsync.broker.producer import (
    ProducerChannel,
    ProducerSentinelChannel,
    ProducerSentinelTransport,
    ProducerTransport,
)
from threadsync.errors import as_ours, named
from worker.durable import scripts
from worker.durable.deliveries import LARGEST_SUSPECT
from worker.durable.raw_message import DurableMessage, Tag, Taken, bytes_in, payload_of
from worker.durable.silence import SILENCE

log = get_logger(__name__)

MOST_AT_ONCE: Final = 64
"""Messages that one run of TAKE brings: more would gain little, and hold up the server."""

_CHUNK: Final = 500
"""Messages that one run of RESTORE puts back: a few milliseconds of the server's time."""

_BYTES_AT_ONCE: Final = 4 * 1024 * 1024
"""Of messages, after which one run of TAKE brings no more: the worker holds them several times over."""

_LARGE_BYTES: Final = 256 * 1024
_MOST_BYTES_HELD: Final = 16 * 1024 * 1024
"""Of large messages, with which a worker takes no more until some have ended: it may hold hundreds."""

_LARGEST_SUSPECT_IN_NEED: Final = 4 * 1024 * 1024
"""Where memory has run out before. A message is about a third larger than its body."""

_READ_SECONDS: Final = 1.0
"""For the rest of what others said (remote control, events), once there is something to read."""

_WARN_AGAIN_SECONDS: Final = 60.0

_MOST_SAID: Final = 1024 * 1024
"""Bytes of what is said to all workers."""

COPY: Final = "threadsync"
"""The header of a message that a worker sends once more, to run later."""

_SHORT_WAIT_SECONDS: Final = 0.05
"""Of several queues only one can be waited on; the others are looked at this often."""


class DurableQoS(kombu_redis.QoS):
    """The messages that were delivered and not acknowledged yet."""

    channel: DurableChannel
    # kombu's types say that a tag is text; one of another's making need not be.
    _delivered: OrderedDict[Tag, Any]  # type: ignore[assignment]
    _dirty: set[Tag]  # type: ignore[assignment]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ended: deque[Tag] = deque()
        self._given_back: deque[Tag] = deque()
        self.ended_at: dict[str, float] = {}
        self._large: dict[Tag, int] = {}

    def can_consume(self) -> bool:
        """Return whether more may be taken: neither the number nor the size of what is held forbids it."""
        return virtual.QoS.can_consume(self) and self._bytes_held() < _MOST_BYTES_HELD

    def _bytes_held(self) -> int:
        if not self._large:
            return 0
        held = self._delivered.keys() - self._dirty
        self._large = {tag: size for tag, size in self._large.items() if tag in held}
        return sum(self._large.values())

    @property
    def credit(self) -> int:
        """How many messages more may be taken now."""
        if not self.can_consume():
            return 0
        room = self.can_consume_max_estimate()
        return MOST_AT_ONCE if room is None else min(room, MOST_AT_ONCE)

    def append(self, message: Any, delivery_tag: Tag) -> None:
        """Remember a delivered message; TAKE has noted it already."""
        virtual.QoS.append(self, message, delivery_tag)  # type: ignore[arg-type]
        size = bytes_in(message)
        if size > _LARGE_BYTES:
            self._large[delivery_tag] = size

    def ack(self, delivery_tag: Tag) -> None:
        """It has ended; the server hears of it soon."""
        message = self._delivered.get(delivery_tag)
        # As text: a message of somebody else's making may have anything there.
        queue = str(message.delivery_info.get("routing_key")) if message is not None else ""
        if queue in self.channel._active_queues:
            self.ended_at[queue] = monotonic()
        self._note_end(delivery_tag)

    def reject(self, delivery_tag: Tag, requeue: bool = False) -> None:
        """Not wanted here; with ``requeue`` others may have it, and at once."""
        if requeue and not self.channel.closed:
            virtual.QoS.ack(self, delivery_tag)  # type: ignore[arg-type]
            self._given_back.append(delivery_tag)
            if self.channel.connection.loop is None:
                self.give_back()
        else:
            self._note_end(delivery_tag)

    def give_back(self) -> None:
        """All that was rejected, at once: one by one each would wait for a server that says nothing."""
        tags = [self._given_back.popleft() for _ in range(len(self._given_back))]
        if not tags or self.channel.closed:
            return
        try:
            self._restore("LPUSH", *tags)
        except redis.ResponseError as exc:
            self.channel.warn("broker refused to take messages back; they will be overdue: %s", exc)
        except self.channel.connection_errors as exc:
            log.warning("%d messages were not given back, they will be overdue: %s", len(tags), exc)

    def _note_end(self, delivery_tag: Tag) -> None:
        virtual.QoS.ack(self, delivery_tag)  # type: ignore[arg-type]
        if self.channel.closed:
            # What it had went back when it was closed, or will when it is overdue.
            return
        self._ended.append(delivery_tag)
        if self.channel.connection.loop is None:
            self.flush()

    def flush(self) -> None:
        """Tell the server what has ended, and what goes back. What it does not hear of is delivered again."""
        if not self.channel.closed:
            self._tell_what_ended()
            self.give_back()

    def _tell_what_ended(self) -> None:
        tags = [self._ended.popleft() for _ in range(len(self._ended))]
        if not tags:
            return
        try:
            self.channel.run_script(scripts.END, [], tags)
        except redis.ResponseError as exc:
            # It may take them later: until then nothing else hears that these have ended.
            self._ended.extend(tags)
            self.channel.warn("broker refused acknowledgements, they are told again: %s", exc)
        except self.channel.connection_errors as exc:
            log.warning("%d acknowledgements lost: %s", len(tags), exc)

    def set_aside(self, delivery_tag: Tag, seconds: float) -> bool:
        """Let it wait in the broker, for ``seconds`` by the server's clock; it is not held here any more.

        False if the broker refuses: then it is held here as before.
        """
        places = f"{self.channel.global_keyprefix}{WAITING}"
        try:
            self.channel.run_script(scripts.WAIT, [], [places, delivery_tag, seconds])
        except redis.ResponseError as exc:
            self.channel.warn("broker refused to keep what is due later; it waits in this worker: %s", exc)
            return False
        virtual.QoS.ack(self, delivery_tag)  # type: ignore[arg-type]
        return True

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Hand back, at the end, what has not ended."""
        self._tell_what_ended()
        self.give_back()
        try:
            super().restore_unacked_once(stderr)
        except redis.ResponseError as exc:
            log.warning("broker refused to take messages back; they will be overdue: %s", exc)

    def restore_unacked(self) -> list[tuple[BaseException, Any]]:  # type: ignore[override]  # as kombu has it
        """All at once: kombu asks for each, and waits for each while the server says nothing."""
        tags = [tag for tag in self._delivered if tag not in self._dirty]
        self._delivered.clear()
        trouble: tuple[type[Exception], ...] = (*self.channel.connection_errors, redis.ResponseError)
        try:
            # The oldest is put back last, so taken first.
            for start in range(0, len(tags), _CHUNK):
                self._restore("RPUSH", *reversed(tags[-start - _CHUNK : len(tags) - start]))
        except trouble as exc:
            log.warning("up to %d messages were not handed back, they will be overdue: %s", len(tags), exc)
        return []

    def restore_visible(self, start: int = 0, num: int | None = None, interval: int = 1) -> None:
        """Say what we have, then put back what nobody has. Every ``unacked_restore_interval`` seconds."""
        held = [tag for tag in tuple(self._delivered) if tag not in self._dirty]
        try:
            # What a refusal left here: after a failover it is not to be put back as overdue.
            self._tell_what_ended()
            self.channel.bind_refused()
            if self.channel.only_listens:
                # Flower's, or of one who asks workers: it has nothing, and may not touch what workers have.
                return
            if held:
                self.channel.run_script(scripts.RENEW, [], held)
            looked_at = _CHUNK
            while looked_at == _CHUNK:
                looked_at = self._restore("RPUSH")
        # In a failover the master is a replica for a while: next time, then.
        except redis.ResponseError as exc:
            self.channel.warn("broker refused to say what is overdue: %s", exc)

    def restore_by_tag(self, tag: Tag, client: Any = None, leftmost: bool = False) -> None:
        """Put one back: to be taken next, or with ``leftmost`` after all others."""
        self._restore("LPUSH" if leftmost else "RPUSH", tag)

    def _restore(self, push: str, *tags: Tag) -> int:
        channel = self.channel
        steps = json.dumps(channel.priority_steps)
        places = [channel.global_keyprefix, channel.sep, steps]
        looked_at, foreign = channel.run_script(
            scripts.RESTORE, [], [self.visibility_timeout, _CHUNK, push, *places, *tags]
        )
        for tag in foreign:
            self._restore_foreign(tag, leftmost=push == "LPUSH")
        # What stays behind must not be looked at for ever.
        return 0 if foreign else int(looked_at)

    def _restore_foreign(self, tag: bytes, leftmost: bool) -> None:
        """Put back what a stock worker noted. What is no such note goes: it would be looked at for ever."""
        try:
            super().restore_by_tag(bytes_to_str(tag), leftmost=leftmost)
        except Exception as exc:
            refused = isinstance(exc, redis.ResponseError) and not is_about_the_way(exc)
            if refused or self.channel._is_of_the_connection(exc):
                raise
            # Nothing that a traceback would explain.
            told = (tag[:100], named(exc))
            log.error("taken out of what is unacknowledged, as it is no message: %r, %s", *told)  # noqa: TRY400
            self.channel.run_script(scripts.END, [], [tag])


class DurableChannel(ProducerChannel):
    """Takes messages by script."""

    QoS = DurableQoS
    Message = DurableMessage

    # kombu's own, which the stubs do not know.
    connection: DurableTransport
    qos: DurableQoS
    _qos: DurableQoS | None
    connection_errors: tuple[type[Exception], ...]
    _active_queues: list[str]
    _queue_cycle: Any
    _flush_brpop_reauth: Callable[[], None]
    _get_message_priority: Callable[..., int]
    keyprefix_queue: str
    keyprefix_binding_permanent: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._no_ack_queues: set[str] = set()
        self._asked_for: Sequence[str] = ()
        self._answered_at: dict[str, float] = {}
        self._read_reply: Callable[[Any], None] = self._on_taken
        self._nothing_there = False
        self._most = 0
        self._rests_until = 0.0
        self._warned_at: dict[str, float] = {}
        self._unbound: list[tuple[str, str, str, str]] = []
        self._largest_suspect = LARGEST_SUSPECT * 4 // 3
        super().__init__(*args, **kwargs)

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        with SILENCE.watched(), super().conn_or_acquire(client) as found:
            yield found

    @cached_property
    def subclient(self) -> Any:
        """kombu's, which by itself reads without a limit, also what a frozen server has said in part."""
        listener = self._create_client(asynchronous=True).pubsub()
        listener.parse_response = partial(listener.parse_response, block=False, timeout=_READ_SECONDS)
        return listener

    def warn(self, text: str, reason: Exception) -> None:
        """Log a refusal, each kind once a minute: it may come each second, for hours."""
        now = monotonic()
        if now - self._warned_at.get(text, -_WARN_AGAIN_SECONDS) >= _WARN_AGAIN_SECONDS:
            self._warned_at[text] = now
            log.warning(text, reason)

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        """Note a queue in its exchange's table; later, if the server refuses. Publishers note it too."""
        try:
            super()._queue_bind(exchange, routing_key, pattern, queue)  # type: ignore[misc]  # not in the stubs
        except redis.OutOfMemoryError as exc:
            self.warn("broker is full; a queue is noted all the same: %s", exc)
            member = self.sep.join([routing_key or "", pattern or "", queue or ""])
            tables = [self.keyprefix_queue % exchange, self.keyprefix_binding_permanent % exchange]
            self.run_script(scripts.BIND, tables, [member])
        except redis.ResponseError as exc:
            self.warn("broker refused to note a queue; it is asked again: %s", exc)
            self._unbound.append((exchange, routing_key, pattern, queue))

    @property
    def only_listens(self) -> bool:
        """Return True if it takes nothing that would have to be acknowledged."""
        return self._no_ack_queues.issuperset(self._active_queues)

    def bind_refused(self) -> None:
        """Ask again for what was refused."""
        unbound, self._unbound = self._unbound, []
        for binding in unbound:
            self._queue_bind(*binding)

    def _receive_one(self, listener: Any) -> Any:
        """Read what others said. Anything may be said there, and nothing of it is worth the worker."""
        try:
            return super()._receive_one(listener)  # type: ignore[misc]  # not in the stubs
        except Empty:
            raise
        except Exception as exc:
            if self._is_of_the_connection(exc):
                raise
            self.warn("what was said to all workers cannot be read: %s", as_ours(exc))
            return None

    def _handle_message(self, client: Any, response: Any) -> Any:
        """Take what is too large to be said to all workers for nothing."""
        found = super()._handle_message(client, response)  # type: ignore[misc]  # not in the stubs
        if isinstance(found["data"], bytes) and len(found["data"]) > _MOST_SAID:
            self.warn("what was said to all workers is too large: %s", ValueError(len(found["data"])))
            found["data"] = None
        return found

    def _is_of_the_connection(self, error: Exception) -> bool:
        # kombu counts KeyError among these, and so would end the connection for a message.
        return isinstance(error, self.connection_errors) and not isinstance(error, LookupError)

    def maybe_refresh_binding_expiry(self) -> None:
        try:
            super().maybe_refresh_binding_expiry()  # type: ignore[misc]  # not in the stubs
        except redis.ResponseError as exc:
            self.warn("broker refused to note a queue once more; it is asked again: %s", exc)

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        """Publish. A full server takes none but a worker's copies, whose first ones end for it."""
        try:
            super()._put(queue, message, **kwargs)
        except redis.OutOfMemoryError:
            if COPY not in (message.get("headers") or {}):
                raise
            key = self._q_for_pri(queue, self._get_message_priority(message, reverse=False))
            self.run_script(scripts.PUT_COPY, [key], [dumps(message)])

    def basic_consume(self, queue: str, no_ack: bool = False, *args: Any, **kwargs: Any) -> Any:
        if no_ack:
            self._no_ack_queues.add(queue)
        else:
            self._no_ack_queues.discard(queue)
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> Any:
        """Take one message now, if there is one; None if not."""
        reply = self.run_script(*self._take_arguments([queue], 1, noted=not no_ack))
        if not reply:
            return None
        taken = Taken.of(reply[0])
        message = self.Message(payload_of(taken, self), channel=self)
        if not no_ack:
            self.qos.append(message, taken.tag)
        return message

    def seconds_since_use(self, queue: str) -> tuple[float | None, float | None]:
        """Since the broker last answered our question for messages of the queue, and since one ended."""
        now = monotonic()
        asked, ended = self._answered_at.get(queue), self.qos.ended_at.get(queue)
        return None if asked is None else now - asked, None if ended is None else now - ended

    def _take_arguments(
        self, queues: Sequence[str], most: int, noted: bool = True
    ) -> tuple[str, list[str], list[Any]]:
        # A share for each, so that a full queue does not starve the others.
        arguments: list[Any] = [most, max(1, most // len(queues)), len(queues)]
        arguments += [_BYTES_AT_ONCE, self._largest_suspect]
        lists = [(queue, self._q_for_pri(queue, step)) for step in self.priority_steps for queue in queues]
        places = [*((queue, f"{WAITING}{queue}") for queue in queues), *lists]
        keys = [key for _queue, key in places]
        for queue, _key in places:
            arguments += [queue, "1" if noted and queue not in self._no_ack_queues else "0"]
        return scripts.TAKE, keys, arguments

    def _take_as_many_as_fit(self, queues: Sequence[str]) -> tuple[str, list[str], list[Any]]:
        self._most = self.qos.credit
        return self._take_arguments(queues, self._most)

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Ask for a message; or, when there was none, to be told that there may be one."""
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues or self._rests():
            return
        if self._nothing_there:
            command = self._wait_command(queues, timeout or self.brpop_timeout)
            self._read_reply = self._on_woken
        else:
            command = self._script_command(*self._take_as_many_as_fit(queues))
            self._read_reply = self._on_taken
        self._nothing_there = False
        self._asked_for = queues
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        self.client.connection.send_command(*command)

    def _rests(self) -> bool:
        """Whether it is too early to ask again. Not for the server to time: it may refuse to wait, too."""
        remaining = self._rests_until - monotonic()
        if remaining > 0 and self.connection.loop is None:
            # Nobody would wake us when it is over.
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
        """The reply to what ``_brpop_start`` asked is there."""
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
            # What came is overdue soon. Delivered often, the largest come without their content.
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
            # Meanwhile nobody consumes any more.
            raise Empty
        self.client.connection.send_command(*self._script_command(*self._take_as_many_as_fit(queues)))
        self._on_taken(self._reply())

    def _rest(self, text: str, exc: Exception) -> NoReturn:
        """A full server, a wrong type under a key, a failover: wait, and begin on a new connection."""
        self.warn(text, exc)
        self._rests_until = monotonic() + self.brpop_timeout
        self.client.connection.disconnect()
        raise Empty from exc

    def _on_taken(self, reply: Any) -> None:
        # Less than there was room for: the queues are empty now, which need not be asked once more.
        brought = sum(len(row[1]) for row in reply)
        self._nothing_there = len(reply) < self._most and brought < _BYTES_AT_ONCE
        if not reply:
            raise Empty
        self._queue_cycle.rotate(bytes_to_str(reply[0][0]))
        while reply:
            # Held no longer than needed.
            self._hand_on(Taken.of(reply.pop(0)))

    def _hand_on(self, taken: Taken) -> None:
        """Let it be handled. What cannot even be begun goes back: delivered often it is not opened here."""
        try:
            self.connection._deliver(payload_of(taken, self), taken.queue)
        except Exception as exc:
            if self._is_of_the_connection(exc):
                raise
            log.warning("a message goes back, it could not be received: %s", named(exc))
            self.qos.reject(taken.tag, requeue=True)


class DurablePoller(kombu_redis.MultiChannelPoller):
    """kombu's, which the event loop calls each time before it waits for whatever comes."""

    _channels: set[DurableChannel]

    def on_poll_start(self) -> None:
        # Celery acknowledges in a callback of the loop; a callback of that one's would run after the wait.
        for channel in tuple(self._channels):
            if channel._qos is not None:
                channel._qos.flush()
        super().on_poll_start()


class DurableTransport(ProducerTransport):
    """For Redis and Valkey."""

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
    """The same on the master that the sentinels name."""


class DurableSentinelTransport(DurableTransport, ProducerSentinelTransport):
    """For ``sentinel://``."""

    Channel = DurableSentinelChannel
