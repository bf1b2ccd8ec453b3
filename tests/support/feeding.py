"""Feed mutated messages to a real broker beside honest commands, and account for what became of each."""

from __future__ import annotations

import base64
import bz2
import itertools
import json
import lzma
import re
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import amqp
import psycopg
import redis
from amqp.exceptions import AMQPError

from tests.support.installation import Installation
from tests.support.mutations import Message, mutant, thread
from tests.support.waiting import wait_until

SECONDS_TO_ANSWER: Final = 5.0
_IN_FLIGHT: Final = 200
_BLOCK: Final = 50
_SUSPECT_EACH: Final = 10
_LONGEST_TRACE: Final = 1 << 20
_LARGEST_HEADER: Final = 100_000
_NOT_OVER_AMQP: Final = {"expiration", "user_id", "delivery_tag", "delivery_info", "body_encoding"}
"""Properties that kombu alone has, or by which RabbitMQ closes the channel or drops the message itself."""


class ValkeyFeed:
    """Feed raw entries of the list; some as if they had been delivered twice."""

    def __init__(self, installation: Installation) -> None:
        self._broker = redis.Redis.from_url(installation.broker_url)

    def put(self, message: Message, number: int) -> bool:
        """Send it; False where the broker lets no such message exist."""
        if number % _SUSPECT_EACH == 0:
            self._broker.hset("unacked_deliveries", f"tag-{number}", "2")
        self._broker.lpush(message.queue, message.raw())
        return True

    def close(self) -> None:
        self._broker.close()


class RabbitFeed:
    """Feed every message that AMQP allows."""

    def __init__(self, installation: Installation) -> None:
        self._celery = installation.celery
        self._connection: Any = None
        self._channel: Any = None

    def put(self, message: Message, number: int) -> bool:
        """Send it; False where AMQP, or the broker, lets no such message exist."""
        properties = message.properties if isinstance(message.properties, dict) else {}
        known = {name for name, _kind in amqp.Message.PROPERTIES} - _NOT_OVER_AMQP
        chosen = {name: value for name, value in properties.items() if name in known}
        chosen |= {"content_type": message.kind, "content_encoding": message.encoding}
        made: Any = amqp.Message(message.encoded(), application_headers=message.headers, **chosen)
        # Whatever py-amqp cannot write, or is larger than a frame.
        with suppress(Exception):
            if len(made._serialize_properties()) < _LARGEST_HEADER:
                return self._publish(made, message.queue)
        return False

    def _publish(self, made: Any, queue: str) -> bool:
        if self._connection is None:
            # kombu's connection knows how to read the URL.
            self._connection = self._celery.connection_for_write()
            self._channel = self._connection.channel()
            self._channel.confirm_select()
        try:
            self._channel.basic_publish_confirm(made, exchange="", routing_key=queue)
        except AMQPError:
            self.close()
            return False
        return True

    def close(self) -> None:
        if self._connection is not None:
            self._connection.release()
            self._connection = None


@dataclass
class Fed:
    """The messages that were sent, and how many honest commands were answered meanwhile."""

    messages: list[tuple[int, Message]] = field(default_factory=list)
    answered: int = 0
    failure: BaseException | None = None


@contextmanager
def _honest_commands(installation: Installation, fed: Fed) -> Iterator[None]:
    """One after the other, as long as the block takes. Each must be answered in time."""
    over = threading.Event()

    def ask() -> None:
        try:
            while not over.is_set():
                number = fed.answered
                result = installation.send("sessions.get_or_create", **honest(number))
                assert result.get(timeout=SECONDS_TO_ANSWER)["outcome"] == "created"
                fed.answered += 1
        except BaseException as exc:  # noqa: BLE001 - told in the test's own thread
            fed.failure = exc

    asking = threading.Thread(target=ask, name="honest")
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()
    if fed.failure is not None:
        raise AssertionError(f"after {fed.answered} honest commands: {fed.failure!r}") from fed.failure


def honest(number: int) -> dict[str, str]:
    return {"channel_id": "C2", "thread_ts": f"{1_700_000_000 + number}.000200", "user_id": "U2"}


def feed(installation: Installation, way: ValkeyFeed | RabbitFeed, numbers: range, seed: int) -> Fed:
    """Send those mutants, some hundred at a time, and wait until all have ended."""
    fed = Fed()
    installation.queues = ("sessions", "lookups")
    with _honest_commands(installation, fed):
        for number in numbers:
            message = mutant(number, seed)
            if way.put(message, number):
                fed.messages.append((number, message))
            if number % _BLOCK == 0:
                wait_until(lambda: installation.waiting() < _IN_FLIGHT, "some have ended", 60)
        wait_until(lambda: installation.waiting() < 3, "all mutants have ended", 120)
    wait_until(lambda: installation.waiting() == 0, "all have ended", 60)
    return fed


def see_that_all_are_accounted_for(installation: Installation, fed: Fed) -> None:
    """Wait for them: what a worker of RabbitMQ holds until it is due it tells a few seconds late."""
    with suppress(AssertionError):
        wait_until(lambda: unaccounted(installation, fed) == [], "all have ended", 20)
    left = unaccounted(installation, fed)
    assert left == [], "\n".join(left)


def unaccounted(installation: Installation, fed: Fed) -> list[str]:
    """Return the messages that left neither a session nor a dead letter, and had not expired.

    A query need leave neither: it ends by a result, or because it is too old for one.
    """
    with psycopg.connect(installation.database_url) as connection:
        rows = connection.execute("SELECT thread_ts FROM thread_sessions").fetchall()
        letters = connection.execute("SELECT task_id, arguments, body FROM dead_letters").fetchall()
    threads = {row[0] for row in rows}
    # What can be found of a message in a letter: its id, its arguments, its bytes.
    traces: set[object] = {task_id.partition("#")[0] for task_id, _, _ in letters}
    traces |= {arguments for _, arguments, _ in letters} | {body for _, _, body in letters}
    traces.discard(None)
    texts = "".join(arguments or "" for _, arguments, _ in letters)
    return [
        f"{number}: {message.changes}"
        for number, message in fed.messages
        if not message.is_question
        and not threads & _threads(number, message)
        and not traces & _traces(message)
        and f'"{thread(number)}"' not in texts
        and not any("expires" in change for change in message.changes)
    ]


def _threads(number: int, message: Message) -> set[str]:
    """Its own, and the one that a changed byte has made of it."""
    return {thread(number), *re.findall(r"[0-9]+\.[0-9]+", message.encoded().decode("latin-1"))}


def _traces(message: Message) -> set[object]:
    body = message.encoded()
    found: set[object] = {message.name, body, base64.b64encode(body), message.raw()}
    for make in (zlib.decompressobj, bz2.BZ2Decompressor, lzma.LZMADecompressor):
        # Of a bomb no more than that.
        with suppress(Exception):
            opened: Any = make()
            found.add(opened.decompress(body, _LONGEST_TRACE))
    content, identity = message.content, message.fields().get("id")
    if isinstance(identity, str):
        found.add(identity)
    if isinstance(content, list) and len(content) > 1:
        found.add(json.dumps({"args": content[0], "kwargs": content[1]}))
    elif isinstance(content, dict):
        found.add(json.dumps({"args": content.get("args", []), "kwargs": content.get("kwargs", {})}))
    return found


def both_places_are_free(installation: Installation, folder: Path) -> None:
    """See that as many commands as there are processes run at the same time."""
    tries = itertools.count()

    def run_at_the_same_time() -> bool:
        # On a slow machine the first may have ended before the second was sent.
        diary = folder / f"both-{next(tries)}"
        results = [installation.send("probe.take", str(diary), 1.0) for _ in range(2)]
        assert [result.get(timeout=20) for result in results] == ["ended"] * 2
        return diary.read_text().split() == ["begin", "begin", "end", "end"]

    wait_until(run_at_the_same_time, "both processes of the pool run a command", 30)
