"""Messages as no client sends them: real ones, with any header, property or part changed. Seeded."""

from __future__ import annotations

import base64
import bz2
import functools
import json
import lzma
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

from celery import Celery

COMMAND: Final = "sessions.get_or_create"
QUESTION: Final = "jira.link"
_ACTS: Final = ("sessions.link", "sessions.unlink")

Mutation = Callable[[Random, "Message"], None]

TIMES: Final = (
    "1970-01-01T00:00:00",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999-14:00",
    "2026-02-30T00:00:00Z",
    "now",
)
"""Moments that are none, or beyond what a date can be. As an ``eta`` each is past, or years away."""


def _nested(depth: int) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = [found]
    return found


_JUNK: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 5, 2**31 - 1, 2**31, -(2**31) - 1, 2**63, 2**64, 10**30, 10**400),
    *(0.5, -0.0, 1e-9, 1e308, -1e308, float("nan"), float("inf"), float("-inf")),
    *("", "x", " ", "5", "true", "null", "x" * 300, "x" * 70_000, "é", "\u202e"),
    *("\x00", "a\x00b", "\n", "\x1b[2J"),
    *("\ud800", "\udfff" * 3, "{}", "[1, 2", "sessions", "celery.ping", "2147483648", *TIMES),
    *([], [1, 2, 3], [None, None], [[]], ["task"], [{}], ["x", 1], {}, {"a": 1}, {"task": 5}, {"": {}}),
    *(_nested(60), _nested(700), {"deep": _nested(350)}),
    *({"__type__": kind, "__value__": value} for kind, value in [
        ("datetime", "2026-01-01T00:00:00"), ("date", "2026-01-01"), ("time", "00:00:00"), ("bytes", "b"),
        ("base64", "AAA="), ("decimal", "1e999999"), ("decimal", "NaN"), ("uuid", {"hex": "0" * 32}),
        ("uuid", {"int": -1}), ("set", [1]), ("datetime", 5), ("no such type", 1),
    ]),
    {"task": COMMAND, "args": [1], "kwargs": {}, "options": {"queue": "sessions"}},
    [{"task": "no.such.task", "args": [], "kwargs": {}, "options": {"queue": "no.such.queue"}}],
    [{"task": COMMAND}],
    [["task", COMMAND]],
)  # fmt: skip
"""Of each type, each limit of a column or a number, each text that somewhere means something."""

JUNK: Final = tuple(map(json.dumps, _JUNK))
"""The same as JSON, to be read anew for each message: the next change may be within it."""

HEADERS: Final = (
    *(
        "task",
        "id",
        "lang",
        "root_id",
        "parent_id",
        "group",
        "group_index",
        "meth",
        "shadow",
        "eta",
        "expires",
    ),
    *(
        "retries",
        "timelimit",
        "argsrepr",
        "kwargsrepr",
        "origin",
        "ignore_result",
        "stamped_headers",
        "stamps",
    ),
    *(
        "replaced_task_nesting",
        "compression",
        "redelivered",
        "x-delivery-count",
        "x-death",
        "clock",
        "hostname",
    ),
    *("threadsync", "opened_as", "sent_at", "traceparent", "tracestate", "baggage"),
    # What Celery's request has of its own.
    *(
        "args",
        "kwargs",
        "callbacks",
        "errbacks",
        "chain",
        "chord",
        "called_directly",
        "is_eager",
        "delivery_info",
    ),
    *(
        "properties",
        "headers",
        "reply_to",
        "correlation_id",
        "_children",
        "_protected",
        "update",
        "get",
        "utc",
    ),
    *("loglevel", "logfile", "taskset", "children", "task_id", "", "x" * 200, "é", "\ud800", "__class__"),
)
PROPERTIES: Final = (
    *(
        "delivery_tag",
        "delivery_info",
        "delivery_mode",
        "priority",
        "body_encoding",
        "correlation_id",
        "reply_to",
    ),
    *("expiration", "message_id", "timestamp", "type", "user_id", "app_id", "cluster_id", "no such property"),
)
DELIVERY_INFO: Final = ("exchange", "routing_key", "consumer_tag", "redelivered", "deliveries", "waited", "x")
EMBEDDED: Final = (
    "callbacks",
    "errbacks",
    "chain",
    "chord",
    "id",
    "called_directly",
    "is_eager",
    "headers",
    "x",
)
HISTORY: Final = ("pauses", "waited", "stuck", "pause", "counted", "first_attempt_at", "x")
KINDS: Final = (
    *("application/json", "application/data", "application/text", "text/plain", "application/x-yaml"),
    *("application/x-python-serialize", "application/x-msgpack", "application/json; charset=utf-8"),
)
ENCODINGS: Final = (
    *("utf-8", "UTF-8", "latin-1", "utf-16", "utf-7", "binary", "ascii-8bit", "bz2", "zlib", "hex"),
    *("rot13", "idna", "punycode", "undefined", "no-such-encoding", "utf-8\x00"),
)
COMPRESSIONS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "zlib": zlib.compress,
    "gzip": zlib.compress,
    "application/x-gzip": zlib.compress,
    "bzip2": bz2.compress,
    "application/x-bz2": bz2.compress,
    "lzma": lzma.compress,
    "application/x-lzma": lzma.compress,
}


@functools.cache
def _bomb(name: str) -> bytes:
    """Return a few kilobytes that decompress to more than is allowed."""
    return COMPRESSIONS[name](b"[" * (17 << 20))


@dataclass
class Message:
    """A message before it is written: of protocol 2, or of protocol 1 where all is in ``content``."""

    name: str
    content: Any
    headers: Any
    properties: Any
    queue: str = "sessions"
    is_question: bool = False
    kind: Any = "application/json"
    encoding: Any = "utf-8"
    body: bytes | None = None
    changes: list[str] = field(default_factory=list)

    @property
    def is_first(self) -> bool:
        return isinstance(self.content, dict)

    def fields(self) -> dict[str, Any]:
        """Return where the protocol keeps what Celery reads."""
        found = self.content if self.is_first else self.headers
        return found if isinstance(found, dict) else {}

    def encoded(self) -> bytes:
        return json.dumps(self.content).encode() if self.body is None else self.body

    def raw(self) -> bytes:
        """Return the message as kombu's channel for Redis writes it."""
        return json.dumps(
            {
                "body": base64.b64encode(self.encoded()).decode(),
                "content-encoding": self.encoding,
                "content-type": self.kind,
                "headers": self.headers,
                "properties": self.properties,
            }
        ).encode()


_CELERY: Final = Celery(set_as_current=False)


def real(number: int, random: Random, command: str = COMMAND) -> Message:
    """One as Celery's client sends it, of either protocol, about a thread of its own."""
    name = f"mutant-{number}"
    is_first, is_question = random.random() < 0.3, command == QUESTION
    queue = "lookups" if is_question else "sessions"
    make: Any = _CELERY.amqp.as_task_v1 if is_first else _CELERY.amqp.as_task_v2
    sent = make(name, command, args=[], kwargs=_arguments(number, command), root_id=name)
    headers = {**sent.headers, "traceparent": f"00-{number:032x}-{number + 1:016x}-01"}
    if not is_question:
        # A question of that age would be dropped.
        headers["sent_at"] = 1.5
    properties = {
        **sent.properties,
        "body_encoding": "base64",
        "delivery_info": {"exchange": "", "routing_key": queue},
        "delivery_mode": 2,
        "delivery_tag": f"tag-{number}",
        "priority": 0,
    }
    # As it is after its way.
    body, headers = json.loads(json.dumps([sent.body, headers]))
    return Message(name, body, headers, properties, queue, is_question)


def _arguments(number: int, command: str) -> dict[str, Any]:
    place = {"channel_id": "C1", "thread_ts": thread(number)}
    if command == COMMAND:
        return {**place, "user_id": "U1"}
    named = {"name": "ann", "via": "console", "address": "127.0.0.1"}
    actor = named if number % 2 else {"user_id": "U1", "team_id": "T1"}
    act = {"jira_key": "PROJ-1", "actor": actor, "command_id": str(UUID(int=number)), "reason": "a slip"}
    return {**place, **act}


def thread(number: int) -> str:
    """The thread that the message of this number opens a session for, if it is carried out."""
    return f"{1_800_000_000 + number}.000100"


def mutant(number: int, seed: int, *, of_all_kinds: bool = True) -> Message:
    """The message of this number with one to three changes; the same again for the same seed.

    ``of_all_kinds``: some are questions, or acts on a thread that has no session, which are waited for.
    """
    random = Random(f"{seed}-{number}")
    command = random.choice((*(COMMAND,) * 16, QUESTION, QUESTION, *_ACTS)) if of_all_kinds else COMMAND
    message = real(number, random, command)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        random.choice(_MUTATIONS)(random, message)
    return message


def _junk(random: Random) -> Any:
    return json.loads(random.choice(JUNK))


def _named(message: Message, what: str, value: object) -> None:
    message.changes.append(f"{what} = {value!r:.80}")


def _value(random: Random, name: str) -> Any:
    if name == "eta":
        # Within what a test waits for, or out of the question.
        seconds = random.choice((-10, 0, 0.5, 2, 5, 86_500, 10**7))
        moment = datetime.now(UTC) + timedelta(seconds=seconds)
        return moment.isoformat() if random.random() < 0.7 else _junk(random)
    if name == "compression":
        return random.choice(tuple(COMPRESSIONS)) if random.random() < 0.5 else _junk(random)
    if name == "timelimit":
        limits: tuple[Any, ...] = ([1, 2, 3], [3600, 3600], [1e-9, 1e-9], [-1, -1], ["a", "b"], [[], {}])
        return random.choice(limits) if random.random() < 0.7 else _junk(random)
    if name == "threadsync":
        return {key: _junk(random) for key in HISTORY if random.random() < 0.5}
    return _junk(random)


def _change(random: Random, message: Message, where: Any, name: str, what: str) -> None:
    if not isinstance(where, dict):
        return
    if random.random() < 0.15:
        where.pop(name, None)
        message.changes.append(f"no {what} {name}")
        return
    where[name] = _value(random, name)
    _named(message, f"{what} {name}", where[name])


def _header(random: Random, message: Message) -> None:
    where = message.fields() if random.random() < 0.8 else message.headers
    _change(random, message, where, random.choice(HEADERS), "header")


def _property(random: Random, message: Message) -> None:
    _change(random, message, message.properties, random.choice(PROPERTIES), "property")


def _way(random: Random, message: Message) -> None:
    info = message.properties.get("delivery_info") if isinstance(message.properties, dict) else None
    _change(random, message, info, random.choice(DELIVERY_INFO), "delivery_info")


def _history(random: Random, message: Message) -> None:
    if isinstance(message.headers, dict):
        message.headers["threadsync"] = {name: _junk(random) for name in HISTORY if random.random() < 0.4}
        _named(message, "threadsync", message.headers["threadsync"])


def _embed(random: Random, message: Message) -> None:
    content = message.content
    where = (
        content
        if message.is_first
        else content[2]
        if isinstance(content, list) and len(content) > 2
        else None
    )
    _change(random, message, where, random.choice(EMBEDDED), "embedded")


def _argument(random: Random, message: Message) -> None:
    content = message.content
    where = content.get("kwargs") if isinstance(content, dict) else None
    if isinstance(content, list) and len(content) > 1:
        where = content[1]
    given = tuple(where) if isinstance(where, dict) else ()
    name = random.choice((*given, "x", "self", "args", ""))
    _change(random, message, where, name, "argument")


def _part(random: Random, message: Message) -> None:
    if isinstance(message.content, dict):
        _change(random, message, message.content, random.choice(("args", "kwargs", "task", "id")), "part")
    elif isinstance(message.content, list):
        place = random.randrange(4)
        message.content[place : place + 1] = [_junk(random)]
        _named(message, f"part {place}", message.content[place - 1])


def _content(random: Random, message: Message) -> None:
    message.content = _junk(random)
    _named(message, "content", message.content)


def _whole(random: Random, message: Message) -> None:
    name = random.choice(("headers", "properties"))
    setattr(message, name, _junk(random))
    _named(message, name, getattr(message, name))


def _bytes(random: Random, message: Message) -> None:
    body = bytearray(message.encoded())
    kind = random.choice(("cut", "flip", "prefix", "noise", "empty", "brackets"))
    if kind == "cut":
        del body[random.randrange(len(body) + 1) :]
    elif kind == "flip" and body:
        body[random.randrange(len(body))] ^= 1 << random.randrange(8)
    elif kind == "prefix":
        body[:0] = b"\xff\xfe\x00"
    elif kind == "noise":
        body = bytearray(random.randbytes(200))
    elif kind == "empty":
        body.clear()
    else:
        body = bytearray(random.choice((b"[" * 200_000, b"[" * 930 + b"]" * 930)))
    message.body = bytes(body)
    message.changes.append(f"bytes: {kind}")


def _compressed(random: Random, message: Message) -> None:
    if not isinstance(message.headers, dict):
        return
    name, said = random.choice(tuple(COMPRESSIONS)), random.choice(tuple(COMPRESSIONS))
    is_bomb, is_true = random.random() < 0.25, random.random() < 0.6
    message.body = _bomb(name) if is_bomb else COMPRESSIONS[name](message.encoded())
    message.headers["compression"] = name if is_true else said
    message.changes.append(f"compressed: {name} as {message.headers['compression']}, bomb: {is_bomb}")


def _kind(random: Random, message: Message) -> None:
    message.kind = random.choice(KINDS) if random.random() < 0.7 else _junk(random)
    _named(message, "content type", message.kind)


def _encoding(random: Random, message: Message) -> None:
    message.encoding = random.choice(ENCODINGS) if random.random() < 0.7 else _junk(random)
    _named(message, "encoding", message.encoding)
    if random.random() < 0.5:
        message.kind = random.choice(("application/text", "application/data", "application/json"))
        _named(message, "content type", message.kind)


_MUTATIONS: Final[tuple[Mutation, ...]] = (
    *(_header,) * 8,
    *(_property, _way, _history, _embed, _argument, _part) * 2,
    *(_content, _whole, _bytes, _compressed, _kind, _encoding),
)
