"""Ownership of a broker database: each belongs to one installation, and refuses the processes of others.

With two of them on one broker database a command may be carried out in the other's database. ADR 14 says
why the id is kept in a key of Valkey and Redis, and in an argument of a queue of RabbitMQ's.
"""

from __future__ import annotations

import re
from typing import Any, Final

import amqp
from amqp.exceptions import PreconditionFailed
from kombu.exceptions import KombuError
from kombu.transport import redis as kombu_redis
from kombu.utils.encoding import bytes_to_str

from threadsync.broker.ownership import KEY, OPTION, OthersConnection, refusal, refuse_others

_CURRENT: Final = re.compile(r"but current is '([^']*)'")

# KEYS[1]: the key. ARGV: our id. Returns whose it is. A full server may refuse to be written to.
_CLAIM: Final = """
local theirs = redis.call('GET', KEYS[1])
if not theirs then
  redis.pcall('SET', KEYS[1], ARGV[1])
  return ARGV[1]
end
return theirs
"""


class OthersBroker(KombuError):
    """Refusal of another installation's broker; the message says what to do. Not tried again."""


class IdentifiedChannel(kombu_redis.Channel):
    """A channel whose connections check the broker's owner before their first command."""

    global_keyprefix: str
    connection: Any

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        kombus: Any = super()
        params: dict[str, Any] = kombus._connparams(asynchronous=asynchronous)
        # Not by kombu's list of options, of which Sentinel's channel has another one.
        ours = self.connection.client.transport_options.get(OPTION)
        if ours:
            key = f"{self.global_keyprefix}{KEY}"
            params["connection_class"] = _looking(params["connection_class"], key, ours)
        return params


def _looking(connection_class: Any, key: str, ours: str) -> Any:
    class Connection(connection_class):  # type: ignore[misc]
        def on_connect_check_health(self, check_health: bool = True) -> None:
            super().on_connect_check_health(check_health=check_health)
            refuse_others(self, key, ours)

    return Connection


def look(connection: amqp.Connection, ours: str) -> None:
    """Raise ``OthersConnection`` if the RabbitMQ that was just connected to is another installation's."""
    channel: Any = connection.channel()
    try:
        # Only read: to write is for workers, which know it from Postgres.
        amqp.Channel.queue_declare(channel, KEY, passive=True)
        theirs = _compared(channel, ours)
    except amqp.ChannelError:
        # There is none, or its user may not look: the doctor says so.
        return
    finally:
        if channel.is_open:
            channel.close()
    if theirs != ours:
        raise OthersConnection(refusal(ours, theirs))


def claim(connection: Any, ours: str) -> None:
    """Compare our id with the broker's, or write it where there is none. Raises ``OthersBroker``."""
    try:
        theirs = _claimed(connection, ours)
    except OthersConnection as exc:
        raise OthersBroker(str(exc)) from exc
    if theirs != ours:
        raise OthersBroker(refusal(ours, theirs))


def owner_of(connection: Any) -> str | None:
    """Return the owner's id, or None. The connection must not check the owner itself."""
    channel = connection.default_channel
    if isinstance(channel, kombu_redis.Channel):
        with channel.conn_or_acquire() as client:
            theirs = client.execute_command("GET", _key(channel))
        return None if theirs is None else bytes_to_str(theirs)
    # An id that none has: the refusal names the owner's.
    return _declared(connection, None)


def take_over(connection: Any, ours: str) -> None:
    """Write our id over the owner's."""
    channel = connection.default_channel
    if isinstance(channel, kombu_redis.Channel):
        with channel.conn_or_acquire() as client:
            client.execute_command("SET", _key(channel), ours)
        return
    channel.queue_delete(KEY)
    claim(connection, ours)


def _claimed(connection: Any, ours: str) -> str:
    channel = connection.default_channel
    if isinstance(channel, kombu_redis.Channel):
        with channel.conn_or_acquire() as client:
            return bytes_to_str(client.execute_command("EVAL", _CLAIM, 1, _key(channel), ours))
    return _declared(connection, ours) or ours


def _key(channel: Any) -> str:
    return f"{channel.global_keyprefix}{KEY}"


def _declared(connection: Any, ours: str | None) -> str | None:
    """Declare RabbitMQ's queue as ours, and return whose it is."""
    try:
        # A refusal closes the channel.
        with connection.channel() as channel:
            if ours is None:
                amqp.Channel.queue_declare(channel, KEY, passive=True)
            return _compared(channel, ours or "")
    except connection.channel_errors:
        return None


def _compared(channel: Any, ours: str) -> str:
    """Declare the queue by py-amqp's own method: our channels take a queue as it is, and compare nothing."""
    # RabbitMQ wants an exchange beside the routing key; nothing is ever put into the queue.
    arguments = {"x-dead-letter-exchange": KEY, "x-dead-letter-routing-key": ours}
    try:
        amqp.Channel.queue_declare(channel, KEY, durable=True, auto_delete=False, arguments=arguments)
    except PreconditionFailed as exc:
        found = _CURRENT.search(str(exc))
        return found[1] if found else "an unknown one"
    return ours
