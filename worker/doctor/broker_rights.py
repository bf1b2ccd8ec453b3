"""Check rights in Valkey and Redis without using them: of our scripts, of kombu and of Celery's results.

``RIGHTS`` is the list; docs/operate/brokers.md has the ACL that gives it, and a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from kombu.utils.encoding import bytes_to_str

from threadsync.broker.lua import WAITING
from threadsync.broker.ownership import KEY as INSTALLATION
from threadsync.broker.producer import ProducerChannel
from threadsync.liveness.heartbeats import KEY as SIGNS
from threadsync.queues import QUEUES
from worker.durable.beat import KEY as BEAT
from worker.operate.rights.broker_samples import forbidden, needed
from worker.operate.rights.broker_users import BrokerUser

Command = tuple[str, ...]

_QUEUE: Final = (
    *(("LPUSH", "{}", ""), ("RPUSH", "{}", ""), ("LINDEX", "{}", "-1"), ("RPOP", "{}"), ("LLEN", "{}")),
    *(("LRANGE", "{}", "0", "1"), ("BLMOVE", "{}", "{}", "RIGHT", "RIGHT", "1"), ("TYPE", "{}")),
    *(("DEL", "{}"), ("EXISTS", "{}")),
)
_WAITING: Final = (
    *(("ZADD", "{}", "1", ""), ("ZRANGE", "{}", "0", "1"), ("ZREM", "{}", ""), ("ZCARD", "{}")),
    ("TYPE", "{}"),
)
_UNACKED: Final = (
    *(("HSET", "unacked", "f", ""), ("HGET", "unacked", "f"), ("HDEL", "unacked", "f")),
    *(("HLEN", "unacked"), ("ZADD", "unacked_index", "1", ""), ("ZREM", "unacked_index", "")),
    *(("ZRANGE", "unacked_index", "0", "1"), ("HGET", "unacked_deliveries", "f")),
    *(("HINCRBY", "unacked_deliveries", "f", "1"), ("HDEL", "unacked_deliveries", "f")),
)
_TABLE: Final = (
    *(("SADD", "{}", ""), ("SREM", "{}", "")),
    *(("SMEMBERS", "{}"), ("EXISTS", "{}"), ("DEL", "{}")),
)
_DEADLINES: Final = (
    *(("ZADD", "_kombu.binding_deadlines", "1", ""), ("ZREM", "_kombu.binding_deadlines", "")),
    ("ZRANGEBYSCORE", "_kombu.binding_deadlines", "0", "1"),
)
_HASHES: Final = (
    *(("HGETALL", SIGNS), ("HSET", SIGNS, "f", ""), ("HDEL", SIGNS, "f")),
    *(("HGET", BEAT, "f"), ("HSET", BEAT, "f", ""), ("HDEL", BEAT, "f")),
)
_INSTALLATION: Final = (("GET", INSTALLATION), ("SET", INSTALLATION, ""))
_REPLIES: Final = "doctor.reply.celery.pidbox"
_EXCHANGES: Final = (*QUEUES, "celery.pidbox", "reply.celery.pidbox", "celeryev")
_RESULT: Final = "celery-task-meta-doctor"
_RESULTS: Final = (
    *(("GET", _RESULT), ("SET", _RESULT, ""), ("SETEX", _RESULT, "1", ""), ("MGET", _RESULT)),
    ("GETRANGE", _RESULT, "0", "1"),
    *(("DEL", _RESULT), ("PUBLISH", _RESULT, ""), ("SUBSCRIBE", _RESULT)),
)
_OF_NO_KEY: Final = (
    *(("TIME",), ("EVALSHA", "x", "0"), ("SCRIPT", "LOAD", "x"), ("SCRIPT", "EXISTS", "x")),
    ("PUNSUBSCRIBE", "x"),
)
_RESULTS_OF_NO_KEY: Final = (("MULTI",), ("EXEC",), ("UNSUBSCRIBE", "x"))
_WITHOUT_KEYS: Final = frozenset(command[0] for command in (*_OF_NO_KEY, *_RESULTS_OF_NO_KEY))

# ARGV: the commands as JSON. Returns those that are refused.
_ASK: Final = """
local missing = {}
for _, command in ipairs(cjson.decode(ARGV[1])) do
  if not redis.acl_check_cmd(unpack(command)) then
    missing[#missing + 1] = command[1] .. (command[2] and command[2] ~= 'x' and ' ' .. command[2] or '')
  end
end
return missing
"""


def rights(*, results: bool) -> Iterator[Command]:
    """List each command that we send with its first key; keys without their prefix.

    Args:
        results: the broker keeps results, too.
    """
    yield from (*_UNACKED, *_HASHES, *_INSTALLATION, *_DEADLINES, *_OF_NO_KEY)
    for queue in (*QUEUES, _REPLIES):
        yield from _of(_QUEUE, queue)
    for queue in QUEUES:
        yield from _of(_WAITING, f"{WAITING}{queue}")
    for exchange in _EXCHANGES:
        for name in ("binding", "binding_permanent"):
            yield from _of(_TABLE, f"_kombu.{name}.{exchange}")
    if results:
        yield from (*_RESULTS, *_RESULTS_OF_NO_KEY)


def missing_rights(
    channel: ProducerChannel, *, results: bool, user: BrokerUser | None = None
) -> tuple[str, ...]:
    """Ask which rights the login lacks. Raises ``redis.ResponseError`` where it may not ask.

    ``user``: check only the rights of this user.
    """
    prefix = channel.global_keyprefix
    if user is not None:
        return _refused(channel, needed(user, prefix, _database(channel)))
    commands = [_prefixed(command, prefix) for command in rights(results=results)]
    for pattern in _channels(channel):
        commands += [("PSUBSCRIBE", pattern), ("PUBLISH", pattern, "")]
    return _refused(channel, commands)


def excess_rights(channel: ProducerChannel, user: BrokerUser) -> tuple[str, ...]:
    """Ask which rights the login has beyond those of ``user``."""
    asked = forbidden(user, channel.global_keyprefix, _database(channel))
    refused = set(_refused(channel, asked))
    return tuple(dict.fromkeys(name for name in map(_name_of, asked) if name not in refused))


def _refused(channel: ProducerChannel, commands: Sequence[Command]) -> tuple[str, ...]:
    refused = channel.run_script(_ASK, [], [json.dumps(commands)])
    return tuple(dict.fromkeys(map(bytes_to_str, refused)))


def _name_of(command: Command) -> str:
    """Return a command's name in the form that the script returns."""
    return " ".join(command[:2]) if command[1:2] not in ((), ("x",)) else command[0]


def _database(channel: ProducerChannel) -> int:
    kombus: Any = channel
    return int(kombus._connparams().get("db") or 0)


def _of(commands: tuple[Command, ...], key: str) -> Iterator[Command]:
    yield from (tuple(word.format(key) for word in command) for command in commands)


def _prefixed(command: Command, prefix: str) -> Command:
    name, *rest = command
    if name in _WITHOUT_KEYS:
        return command
    if name == "BLMOVE":
        return (name, *(f"{prefix}{key}" for key in rest[:2]), *rest[2:])
    return (name, f"{prefix}{rest[0]}", *rest[1:])


def _channels(channel: ProducerChannel) -> list[str]:
    """Return the channels of remote control and events, as kombu names them."""
    # kombu's own, which the stubs do not know.
    kombus: Any = channel
    kombus.client  # noqa: B018 - with the client kombu learns the number of the database
    prefix = f"{channel.global_keyprefix}{kombus.keyprefix_fanout}"
    return [f"{prefix}{topic}" for topic in ("celery.pidbox", "celeryev/worker.*", "celeryev/*")]
