"""Connections to Valkey and Redis that never take a reply for another command's.

A reply is read after its command was sent, and much may come between the two: Celery's soft time limit, which
is an exception raised by a signal, Ctrl-C, a time-out of our own. Then a reply is still on its way, and the
next command would get it. redis-py hangs up in most of these cases, but not on the master that a Sentinel
names, and nowhere between two replies of a pipeline; and what has come by the time when a pool hands a
connection out again it minds with RESP2 only. A frozen server makes all that likely: all clients wait for it,
and when it goes on it answers them all.

So a connection counts the replies that it is owed. In a pool, one that is owed any is connected again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

_LISTENING: Final = frozenset({"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"})
"""Commands after which incoming data are no replies, and are not counted."""

_SENTINEL_SECONDS: Final = 1.0
"""Limit for one sentinel to name the master; after it the next one is asked."""


class _Packed(list[Any]):
    """Commands as bytes, for one write."""

    replies = 1


class InStep:
    """A mixin before a connection class of redis-py: see ``in_step``."""

    _owed = 0
    _listens = False

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        if args and args[0] in _LISTENING:
            self._listens = True
        _of(self).send_command(*args, **kwargs)

    def pack_commands(self, commands: Iterable[Any]) -> _Packed:
        commands = list(commands)
        packed = _Packed(_of(self).pack_commands(commands))
        packed.replies = len(commands)
        return packed

    def send_packed_command(self, command: Any, *args: Any, **kwargs: Any) -> None:
        try:
            _of(self).send_packed_command(command, *args, **kwargs)
            self._owed += getattr(command, "replies", 1)
        except BaseException:
            self.disconnect()
            raise

    def read_response(self, *args: Any, disconnect_on_error: bool = True, **kwargs: Any) -> Any:
        try:
            reply = _of(self).read_response(*args, disconnect_on_error=disconnect_on_error, **kwargs)
        except redis.ResponseError:
            self._owed -= 1
            raise
        except BaseException as exc:
            no_memory = isinstance(exc, MemoryError) or _lacks_memory(exc)
            if disconnect_on_error or no_memory:  # then there is no buffer any more, for a listener either
                self.disconnect()
            if no_memory and isinstance(exc, ValueError):
                raise MemoryError("no memory for a reply") from exc
            raise
        self._owed -= 1
        return reply

    def _send_ping(self) -> None:
        """Ping the server before a connection is used again."""
        try:
            _of(self)._send_ping()
        except redis.ResponseError as exc:
            if not is_unwritable(exc):
                raise

    def connect(self, *args: Any, **kwargs: Any) -> None:
        """Connect unless connected, as a pool does with each connection that it hands out."""
        if self._owed > 0 and not self._listens:
            self.disconnect()
        _of(self).connect(*args, **kwargs)

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        try:
            _of(self).disconnect(*args, **kwargs)
        finally:
            self._owed, self._listens = 0, False


def _lacks_memory(error: BaseException) -> bool:
    """Return True if a MemoryError is behind it: redis-py then rewinds a buffer that is closed."""
    before = error.__context__
    return before is not None and (isinstance(before, MemoryError) or _lacks_memory(before))


def _of(connection: InStep) -> Any:
    """Return redis-py's own methods; their class is known when ``in_step`` is called."""
    return super(InStep, connection)


def is_unwritable(error: redis.ResponseError) -> bool:
    """Return True if the server cannot write to its disk: it refuses PING too then, and can be read."""
    return str(error).startswith("MISCONF")


def in_step(connection_class: type[Any]) -> type[Any]:
    """Return a subclass whose connections count the replies that they are owed."""
    if issubclass(connection_class, InStep):
        return connection_class
    return type(f"InStep{connection_class.__name__}", (InStep, connection_class), {})


def sentinel_limits(given: Mapping[str, Any] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``sentinel_kwargs`` with limits: redis-py sets none if any are given, such as a password.

    Args:
        options: those of the connections to the master; what they say of sockets is an upper bound.
    """
    limits = {
        name: min(_SENTINEL_SECONDS, float(options.get(name) or _SENTINEL_SECONDS))
        for name in ("socket_timeout", "socket_connect_timeout")
    }
    # By itself redis-py asks a frozen sentinel several times over, with pauses of up to ten seconds.
    return {**limits, "socket_keepalive": True, "retry": Retry(NoBackoff(), 0), **(given or {})}
