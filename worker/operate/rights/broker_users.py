"""Declare the users of Valkey and Redis, one for each kind of process, and their rights. The only list.

The ACL that compose and ``threadsync up`` ship, the tables of docs/operate/least-privilege.md, the doctor's
questions and the tests are made of ``USERS``. Keys and channels stand here without prefix, for database 0.

Commands inside a script count like any others; a script itself needs all keys that it is given. So looking at
the queues (a script on all keys) is one grant, and each command in it another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args
from urllib.parse import urlsplit

from threadsync.broker.lua import WAITING
from threadsync.broker.ownership import KEY as INSTALLATION
from threadsync.liveness.heartbeats import KEY as HEARTBEATS
from threadsync.queues import QUEUES
from worker.durable.beat import KEY as BEAT

BrokerUser = Literal["web", "worker", "beat", "flower", "metrics"]
Kind = Literal["valkey", "redis"]
NAMES: Final[tuple[BrokerUser, ...]] = get_args(BrokerUser)

_UNKNOWN: Final[Mapping[Kind, frozenset[str]]] = {
    "valkey": frozenset(),
    # Redis 7.0, the oldest; later ones know the first.
    "redis": frozenset({"client|setinfo", "commandlog|reset"}),
}

AND_PRIORITY: Final = "[^!-~]*"
"""Suffix of a queue's name: kombu's, for a priority, begins with a character that is not printed."""

_Queues: Final = tuple(key for queue in QUEUES for key in (queue, f"{queue}{AND_PRIORITY}"))
_Waiting: Final = (f"{WAITING}*",)
_Held: Final = ("unacked", "unacked_index", "unacked_deliveries")
_Routes: Final = tuple(
    f"_kombu.{table}.{queue}" for queue in QUEUES for table in ("binding", "binding_permanent")
)
_EventRoutes: Final = ("_kombu.binding.celeryev", "_kombu.binding_permanent.celeryev")
_Scripts: Final = (*_Queues, *_Waiting, *_Held, HEARTBEATS, BEAT, INSTALLATION)
_Results: Final = ("celery-task-meta-*",)
_Replies: Final = ("*.reply.celery.pidbox",)
_Own: Final = ("*.celery.pidbox*", "celeryev.*")
_OwnRoutes: Final = tuple(
    f"_kombu.{table}.{exchange}"
    for exchange in ("celery.pidbox", "reply.celery.pidbox", "celeryev")
    for table in ("binding", "binding_permanent")
)
_Deadlines: Final = "_kombu.binding_deadlines"
_ResultChannels: Final = ("celery-task-meta-*",)
_Control: Final = "/0.celery.pidbox"
_Events: Final = ("/0.celeryev/*", "/0.celeryev/worker.*")
_OfTasks: Final = ("/0.celeryev/task.*",)


@dataclass(frozen=True)
class Grant:
    """Commands that may be given on these keys and channels, and why."""

    why: str
    commands: tuple[str, ...]
    keys: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    is_needed: bool = True
    """False if the process works without the rights, and reports each thing that it could not do."""

    def words(self, prefix: str, database: int) -> Iterator[str]:
        """Yield the words of an ACL's selector."""
        for command in self.commands:
            # Of all databases the one that is ours.
            yield f"+select|{database}" if command == "select" else f"+{command}"
        yield from (f"~{prefix}{key}" for key in self.keys)
        yield from (f"&{prefix}{in_database(channel, database)}" for channel in self.channels)


_CONNECT: Final = Grant("connect, and look whose broker it is", ("ping", "select", "client|setinfo", "time"))
_REPLICAS: Final = Grant("wait for replicas, with BROKER_WAIT_REPLICAS", ("wait",), is_needed=False)
_MEMORY: Final = Grant("see memory", ("info",), is_needed=False)
_OWNER: Final = Grant("see whose broker it is", ("get",), (INSTALLATION,))
_LOOK: Final = (
    Grant("run scripts", ("eval",), (*_Scripts, *_Routes)),
    Grant("read heartbeats", ("hgetall",), (HEARTBEATS,)),
    Grant("count messages", ("type", "llen"), _Queues),
    Grant("count messages for later", ("type", "llen", "zcard"), _Waiting),
    Grant("count messages that workers hold", ("hlen",), ("unacked",)),
)
_SEND: Final = (
    _REPLICAS,
    Grant("send", ("lpush",), _Queues),
    Grant("route", ("sadd", "smembers", "exists"), (*_Routes, *_EventRoutes)),
)
_ASK_WORKERS: Final = (
    Grant("ask workers", ("publish",), channels=(_Control,)),
    Grant(
        "receive replies and events in queues of its own",
        ("lindex", "lrange", "rpop", "blmove", "llen", "type", "zrange", "del", "exists"),
        _Own,
    ),
    Grant("route them", ("sadd", "srem", "smembers", "exists", "del"), _OwnRoutes),
    Grant("run kombu's scripts", ("script|load", "script|exists")),
    Grant("let routes end", ("zadd", "zrem", "zrangebyscore"), (_Deadlines,)),
    Grant("do both at once", ("multi", "exec")),
    Grant("see how often a message came", ("hget",), ("unacked_deliveries",)),
)
_LEAVE_HEARTBEAT: Final = Grant("leave a heartbeat", ("hset", "hdel", "del"), (HEARTBEATS,))

USERS: Final[Mapping[BrokerUser, tuple[Grant, ...]]] = {
    "web": (
        _CONNECT,
        _OWNER,
        *_LOOK,
        *_SEND,
        _LEAVE_HEARTBEAT,
        Grant("tell Flower that a command was sent", ("publish",), channels=_OfTasks),
        Grant("read and delete results", ("get", "getrange", "del"), _Results),
        # Without it results are polled for.
        Grant("hear of results", ("subscribe", "unsubscribe"), channels=_ResultChannels, is_needed=False),
    ),
    "beat": (
        _CONNECT,
        _OWNER,
        *_LOOK,
        *_SEND,
        _LEAVE_HEARTBEAT,
        Grant("note what is on its way", ("hget", "hset", "hdel"), (BEAT,)),
    ),
    "flower": (
        _CONNECT,
        _OWNER,
        Grant("run scripts", ("eval", "evalsha"), (*_Held, *_Waiting, *_Own, *_OwnRoutes, _Deadlines)),
        Grant("hear events", ("psubscribe", "punsubscribe"), channels=_Events),
        *_ASK_WORKERS,
        Grant("count messages", ("llen",), _Queues),
    ),
    "metrics": (_CONNECT, _OWNER, *_LOOK, _MEMORY),
    "worker": (
        _CONNECT,
        Grant("see whose broker it is, or say so", ("get", "set"), (INSTALLATION,)),
        *_LOOK,
        *_SEND,
        _LEAVE_HEARTBEAT,
        *_ASK_WORKERS,
        Grant("run scripts", ("eval", "evalsha"), (*_Scripts, *_Routes, *_Own, *_OwnRoutes, _Deadlines)),
        Grant("store many results at once", ("eval",), _Results, is_needed=False),
        Grant("take messages", ("lindex", "lrange", "rpop", "rpush", "blmove", "del", "exists"), _Queues),
        Grant("take what has waited, let wait", ("zadd", "zrange", "zrem"), _Waiting),
        Grant("note what it has", ("hset", "hget", "hdel", "hincrby", "zadd", "zrange", "zrem"), _Held),
        Grant("say that beat's message came", ("hdel",), (BEAT,)),
        Grant(
            "keep results",
            ("get", "getrange", "mget", "set", "setex", "del", "publish"),
            _Results,
            _ResultChannels,
        ),
        Grant("hear of results", ("subscribe", "unsubscribe"), channels=_ResultChannels),
        Grant("reply to remote control", ("lpush",), _Replies),
        Grant(
            "hear remote control and events", ("psubscribe", "punsubscribe"), channels=(_Control, *_Events)
        ),
        Grant("send events", ("publish",), channels=_Events),
        _MEMORY,
        Grant("see that keys are ours", ("type",), (*_Held, HEARTBEATS, BEAT, INSTALLATION)),
        Grant(
            "forget results", ("scan", "slowlog|reset", "commandlog|reset", "bgrewriteaof"), is_needed=False
        ),
    ),
}


def acl_words(user: BrokerUser, prefix: str = "", database: int = 0, kind: Kind = "valkey") -> Iterator[str]:
    """Yield the rights of a user as ``ACL SETUSER`` takes them, behind ``reset on`` and a password.

    Args:
        prefix: of all keys and channels: ``global_keyprefix``.
        database: the number that the broker's address names.
        kind: Redis knows fewer commands.
    """
    yield from ("resetchannels", "-@all")
    for grant in USERS[user]:
        known = replace(grant, commands=tuple(c for c in grant.commands if c not in _UNKNOWN[kind]))
        words = list(known.words(prefix, database))
        yield from [f"({' '.join(words)})"] if grant.keys or grant.channels else words


def acl_line(
    user: BrokerUser, password: str, prefix: str = "", database: int = 0, kind: Kind = "valkey"
) -> str:
    """Return the line of a configuration file that makes the user; it has the password's hash alone."""
    return acl_line_of_hash(user, hashlib.sha256(password.encode()).hexdigest(), prefix, database, kind)


def acl_line_of_hash(
    user: BrokerUser, digest: str, prefix: str = "", database: int = 0, kind: Kind = "valkey"
) -> str:
    """Return the line of a user whose password has this SHA-256, in hexadecimal digits."""
    return f"user {login_of(user)} on #{digest} {' '.join(acl_words(user, prefix, database, kind))}"


def configuration(prefix: str = "", database: int = 0, kind: Kind = "valkey") -> str:
    """Return the lines of all users, with ``@web@`` in place of the hash of that user's password."""
    lines = [f"{acl_line_of_hash(user, f'@{user}@', prefix, database, kind)}\n" for user in NAMES]
    return "".join(lines)


def login_of(user: BrokerUser) -> str:
    """Return the name that the user logs in with."""
    return f"threadsync-{user}"


def user_in(url: str | None) -> BrokerUser | None:
    """Return the user as whom an address logs in; None if it is none of ours."""
    name = urlsplit((url or "").partition(";")[0]).username
    return next((user for user in NAMES if login_of(user) == name), None)


def in_database(channel: str, database: int) -> str:
    """Return a channel's name as kombu has it in a database."""
    return channel.replace("/0.", f"/{database}.", 1)
