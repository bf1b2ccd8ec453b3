"""kombu's Redis channel, where no refusal of the server and no remote control ends a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from queue import Empty
from time import monotonic
from typing import Any, Final

import redis
from kombu.log import get_logger
from kombu.utils.json import dumps

from threadsync.broker.producer import ProducerChannel
from threadsync.errors import as_ours
from worker.durable import scripts
from worker.durable.retry_policy import HEADER
from worker.durable.silence import SILENCE

log = get_logger("worker.durable.transport")

_READ_SECONDS: Final = 1.0
"""The longest wait for the rest of remote control or an event, once there is something to read."""

_WARN_AGAIN_SECONDS: Final = 60.0

_MOST_SAID: Final = 1024 * 1024
"""Largest message of remote control, in bytes."""


class TolerantChannel(ProducerChannel):
    """Channel that publishes, binds queues and reads remote control."""

    # kombu's own, which the stubs do not know.
    connection: Any
    connection_errors: tuple[type[Exception], ...]
    _active_queues: list[str]
    _get_message_priority: Callable[..., int]
    keyprefix_queue: str
    keyprefix_binding_permanent: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._no_ack_queues: set[str] = set()
        self._warned_at: dict[str, float] = {}
        self._unbound: list[tuple[str, str, str, str]] = []
        super().__init__(*args, **kwargs)

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        with SILENCE.watched(), super().conn_or_acquire(client) as found:
            yield found

    @cached_property
    def subclient(self) -> Any:
        """kombu's listener, with a time limit for the rest of a reply, for which kombu has none."""
        listener = self._create_client(asynchronous=True).pubsub()
        listener.parse_response = partial(listener.parse_response, block=False, timeout=_READ_SECONDS)
        return listener

    def warn(self, text: str, reason: Exception) -> None:
        """Log a refusal, each kind once a minute: refusals may come each second, for hours."""
        now = monotonic()
        if now - self._warned_at.get(text, -_WARN_AGAIN_SECONDS) >= _WARN_AGAIN_SECONDS:
            self._warned_at[text] = now
            log.warning(text, reason)

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        """Note a queue in its exchange's table; if the server refuses, later. Publishers note it too."""
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
        """Return True if the channel takes nothing that would have to be acknowledged."""
        return self._no_ack_queues.issuperset(self._active_queues)

    def bind_refused(self) -> None:
        """Ask again for the bindings that were refused."""
        unbound, self._unbound = self._unbound, []
        for binding in unbound:
            self._queue_bind(*binding)

    def _receive_one(self, listener: Any) -> Any:
        """Read remote control; nothing that a program writes there may end the worker."""
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
        """Ignore remote control that is too large."""
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
        """Publish; a full server takes a worker's copies alone, as the message of each copy then ends."""
        try:
            super()._put(queue, message, **kwargs)
        except redis.OutOfMemoryError:
            if HEADER not in (message.get("headers") or {}):
                raise
            key = self._q_for_pri(queue, self._get_message_priority(message, reverse=False))
            self.run_script(scripts.PUT_COPY, [key], [dumps(message)])

    def basic_consume(self, queue: str, no_ack: bool = False, *args: Any, **kwargs: Any) -> Any:
        if no_ack:
            self._no_ack_queues.add(queue)
        else:
            self._no_ack_queues.discard(queue)
        return super().basic_consume(queue, no_ack, *args, **kwargs)
