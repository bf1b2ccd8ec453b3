"""Sample commands by which a server is asked for a user's rights, without running any.

Each is a command of ``broker_users`` on a key or a channel that its pattern stands for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

from worker.operate.rights.broker_users import AND_PRIORITY, USERS, BrokerUser, Grant, in_database

Command = tuple[str, ...]

_HERE: Final = "<here>"
"""Placeholder for a key or a channel."""

_ARGUMENTS: Final[Mapping[str, Command]] = {
    **dict.fromkeys(("get", "getrange", "hgetall", "hlen", "llen", "rpop", "smembers", "type"), (_HERE,)),
    **dict.fromkeys(("del", "exists", "mget", "scan", "subscribe", "psubscribe", "zcard"), (_HERE,)),
    **dict.fromkeys(("lpush", "rpush", "sadd", "srem", "set", "zrem", "publish"), (_HERE, "x")),
    **dict.fromkeys(("hget", "hdel"), (_HERE, "x")),
    **dict.fromkeys(("lrange", "zrange", "zrangebyscore"), (_HERE, "0", "1")),
    "blmove": (_HERE, _HERE, "RIGHT", "RIGHT", "1"),
    "eval": ("x", "1", _HERE),
    "evalsha": ("x", "1", _HERE),
    "getrange": (_HERE, "0", "1"),
    "hincrby": (_HERE, "x", "1"),
    "hset": (_HERE, "x", "x"),
    "lindex": (_HERE, "-1"),
    "scan": ("0",),
    "setex": (_HERE, "1", "x"),
    "zadd": (_HERE, "1", "x"),
    "punsubscribe": ("x",),
    "script|exists": ("x",),
    "script|load": ("x",),
    "unsubscribe": ("x",),
    "wait": ("0", "1"),
}
_ADMINISTRATORS: Final[tuple[Command, ...]] = tuple(
    tuple(command.split())
    for command in (
        *("flushall", "flushdb", "swapdb 0 1", "keys *", "config get requirepass", "monitor", "shutdown"),
        *("config set appendonly no", "acl list", "acl setuser x", "client list", "client kill id 1", "save"),
        *("debug sleep 0", "replicaof no one", "module list", "function load x", "script flush"),
        *("psubscribe *", "lrange sessions:1 0 1", "lpush syncs-old x", "del unacked_mutex"),
        *("get celery-task-set", "move sessions 1"),
    )
)
"""Commands of administrators alone, some of them on keys of others whose names begin as ours do."""

_NOT_EVERYWHERE: Final = frozenset({"client|setinfo", "commandlog|reset"})
"""Commands that some servers do not know, so that none is asked about them."""


def allowed(user: BrokerUser, prefix: str = "", database: int = 0) -> list[Command]:
    """Return the commands that the user may give."""
    return _of_all(USERS[user], prefix, database)


def needed(user: BrokerUser, prefix: str = "", database: int = 0) -> list[Command]:
    """Return the commands that the user must be able to give."""
    return _of_all([grant for grant in USERS[user] if grant.is_needed], prefix, database)


def forbidden(user: BrokerUser, prefix: str = "", database: int = 0) -> list[Command]:
    """Return commands of other users and of administrators, which the user may not give."""
    own = allowed(user, prefix, database)
    others = (command for other in USERS for command in allowed(other, prefix, database))
    asked = dict.fromkeys((*others, *_ADMINISTRATORS, ("select", str(database + 1))))
    return [command for command in asked if command not in own and not _covered(command, own)]


def _of_all(grants: Sequence[Grant], prefix: str, database: int) -> list[Command]:
    return list(dict.fromkeys(command for grant in grants for command in _of(grant, prefix, database)))


def _of(grant: Grant, prefix: str, database: int) -> Iterator[Command]:
    places = [f"{prefix}{key.replace(AND_PRIORITY, ' 3').replace('*', '')}" for key in grant.keys]
    # A pattern that is listened to is compared as it stands.
    channels = [f"{prefix}{in_database(channel, database)}" for channel in grant.channels]
    for name in grant.commands:
        if name in _NOT_EVERYWHERE:
            continue
        words, arguments = tuple(name.split("|")), _ARGUMENTS.get(name, ())
        if name == "select":
            arguments = (str(database),)
        if _HERE not in arguments:
            yield (*words, *arguments)
            continue
        for place in channels if name in ("publish", "subscribe", "psubscribe") else places:
            yield (*words, *(place if argument is _HERE else argument for argument in arguments))


def _covered(command: Command, own: list[Command]) -> bool:
    """Return True for a channel that a pattern of the user's own stands for."""
    return command[0] == "publish" and any(
        other[0] == "publish" and fnmatchcase(command[1], other[1]) for other in own
    )
