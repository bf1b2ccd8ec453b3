"""Account of the messages that a worker has, in place of kombu's QoS of Redis.

Acknowledgements are gathered until the event loop is about to wait, and told by one script: one that is lost
with its worker only means one more run.
"""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any, Final

import redis
from kombu.log import get_logger
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.encoding import bytes_to_str

from threadsync.broker.errors import is_about_the_way
from threadsync.broker.lua import WAITING
from threadsync.errors import named
from worker.durable import scripts
from worker.durable.channel import TolerantChannel
from worker.durable.raw_message import Tag, bytes_in

log = get_logger("worker.durable.transport")

MOST_AT_ONCE: Final = 64
"""Most messages of one run of TAKE: more would gain little, and hold up the server."""

MOST_IN_CHUNK: Final = 256
"""Most messages of one run of TAKE for the fast lane, which one process carries out together."""

_CHUNK: Final = 500
"""Most messages that one run of RESTORE puts back: a few milliseconds of the server's time."""

_LARGE_BYTES: Final = 256 * 1024
_MOST_BYTES_HELD: Final = 16 * 1024 * 1024
"""Total of large messages at which a worker takes no further ones until some have ended."""


class DurableQoS(kombu_redis.QoS):
    """Account of the messages that were delivered and not acknowledged yet."""

    channel: TolerantChannel
    # kombu's types say that a tag is text; one of another's making need not be.
    _delivered: OrderedDict[Tag, Any]  # type: ignore[assignment]
    _dirty: set[Tag]  # type: ignore[assignment]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ended: deque[Tag] = deque()
        self._given_back: deque[Tag] = deque()
        self.ended_at: dict[str, float] = {}
        self._large: dict[Tag, int] = {}
        self._in_lane: dict[Tag, None] = {}

    def can_consume(self) -> bool:
        """Return True if more messages may be taken, by the number and the size of the held ones."""
        has_room = not self._in_lane or self.lane_credit > 0
        return has_room and virtual.QoS.can_consume(self) and self._bytes_held() < _MOST_BYTES_HELD

    def _bytes_held(self) -> int:
        if not self._large:
            return 0
        held = self._delivered.keys() - self._dirty
        self._large = {tag: size for tag, size in self._large.items() if tag in held}
        return sum(self._large.values())

    @property
    def credit(self) -> int:
        """Return the number of further messages that may be taken now."""
        if not self.can_consume():
            return 0
        room = self.can_consume_max_estimate()
        return MOST_AT_ONCE if room is None else min(room, MOST_AT_ONCE)

    @property
    def lane_credit(self) -> int:
        """Return the number of further messages that may be taken for the fast lane now.

        There is none when each process of the pool has a chunk, and another one waits for it.
        """
        most = 2 * (self.prefetch_count or MOST_AT_ONCE) * MOST_IN_CHUNK // MOST_AT_ONCE
        room = most - len(self._in_lane)
        return min(room, MOST_IN_CHUNK) if room >= MOST_IN_CHUNK or not self._in_lane else 0

    def hold(self, tags: Sequence[Tag]) -> None:
        """Remember messages that TAKE brought for the fast lane."""
        self._in_lane.update(dict.fromkeys(tags))

    def let_go(self, tags: Iterable[Tag]) -> None:
        """Forget messages of the fast lane that have ended, or take the ordinary road."""
        for tag in tags:
            self._in_lane.pop(tag, None)

    def lane_ended(self, queue: str, tags: Sequence[Tag], *, is_told: bool) -> None:
        """Note that messages of the fast lane have ended, of which the server may have been told."""
        self.let_go(tags)
        if queue in self.channel._active_queues:
            self.ended_at[queue] = monotonic()
        if not is_told and not self.channel.closed:
            self._ended.extend(tags)

    def lane_given_back(self, tags: Sequence[Tag]) -> None:
        """Give messages of the fast lane back, at once, to any worker."""
        self.let_go(tags)
        if not self.channel.closed:
            self._given_back.extend(tags)

    def append(self, message: Any, delivery_tag: Tag) -> None:
        """Remember a delivered message; TAKE has noted it already."""
        virtual.QoS.append(self, message, delivery_tag)  # type: ignore[arg-type]
        size = bytes_in(message)
        if size > _LARGE_BYTES:
            self._large[delivery_tag] = size

    def ack(self, delivery_tag: Tag) -> None:
        """Note that a message has ended; tell the server soon."""
        message = self._delivered.get(delivery_tag)
        # As text: a message of another client may have anything there.
        queue = str(message.delivery_info.get("routing_key")) if message is not None else ""
        if queue in self.channel._active_queues:
            self.ended_at[queue] = monotonic()
        self._note_end(delivery_tag)

    def reject(self, delivery_tag: Tag, requeue: bool = False) -> None:
        """Drop a message; with ``requeue`` give it back, at once, to any worker."""
        if requeue and not self.channel.closed:
            virtual.QoS.ack(self, delivery_tag)  # type: ignore[arg-type]
            self._given_back.append(delivery_tag)
            if self.channel.connection.loop is None:
                self.give_back()
        else:
            self._note_end(delivery_tag)

    def give_back(self) -> None:
        """Return all rejected messages in one call: singly, each would wait for a silent server."""
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
            # A closed channel's messages went back, or will when they are overdue.
            return
        self._ended.append(delivery_tag)
        if self.channel.connection.loop is None:
            self.flush()

    def flush(self) -> None:
        """Tell the server which messages ended and which go back. The others are delivered again."""
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
            # The broker may take them later; until then it does not know that these have ended.
            self._ended.extend(tags)
            self.channel.warn("broker refused acknowledgements, they are told again: %s", exc)
        except self.channel.connection_errors as exc:
            log.warning("%d acknowledgements lost: %s", len(tags), exc)

    def set_aside(self, delivery_tag: Tag, seconds: float) -> bool:
        """Let a message wait in the broker for ``seconds`` by the server's clock; False if it refuses."""
        places = f"{self.channel.global_keyprefix}{WAITING}"
        try:
            self.channel.run_script(scripts.WAIT, [], [places, delivery_tag, seconds])
        except redis.ResponseError as exc:
            self.channel.warn("broker refused to keep what is due later; it waits in this worker: %s", exc)
            return False
        virtual.QoS.ack(self, delivery_tag)  # type: ignore[arg-type]
        return True

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Hand back, at the end, the messages that have not ended."""
        self._tell_what_ended()
        self.give_back()
        self._delivered.update(self._in_lane)
        self._in_lane.clear()
        try:
            super().restore_unacked_once(stderr)
        except redis.ResponseError as exc:
            log.warning("broker refused to take messages back; they will be overdue: %s", exc)

    def restore_unacked(self) -> list[tuple[BaseException, Any]]:  # type: ignore[override]  # as kombu has it
        """Hand all messages back in few calls; kombu makes one each, and each waits for a silent server."""
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
        """Renew our messages, then put overdue ones back; every ``unacked_restore_interval`` seconds."""
        held = [tag for tag in tuple(self._delivered) if tag not in self._dirty]
        held += self._in_lane
        try:
            # Acknowledgements that were refused: after a failover they must not count as overdue.
            self._tell_what_ended()
            self.channel.bind_refused()
            if self.channel.only_listens:
                # Flower's, or a question's to workers: it may not touch what workers have.
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
        """Put a message back, to be taken next, or with ``leftmost`` after all others."""
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
        # Entries that stay behind must not be read for ever.
        return 0 if foreign else int(looked_at)

    def _restore_foreign(self, tag: bytes, leftmost: bool) -> None:
        """Put back a message that a stock worker noted; drop anything else, or it would be read for ever."""
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
