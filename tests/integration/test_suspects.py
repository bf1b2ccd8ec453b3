"""The line of messages that are opened alone: no error about one of them holds up those behind it."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import redis
from kombu import Connection
from kombu.message import Message

from tests.integration.test_transport import DURABLE, publish
from tests.waiting import wait_until
from worker.suspects import Suspects


class OpeningPool:
    """Stands in for a pool whose processes open each message; an answer's errors are swallowed, as there."""

    def apply_async(self, *_: Any, callback: Callable[[str], None], **__: Any) -> None:
        try:
            callback("open")
        except Exception:  # noqa: BLE001
            return


def test_a_suspect_that_cannot_be_handled_goes_back_and_the_line_goes_on(broker_url: str) -> None:
    """The broker fails just when it is to set one aside, say."""
    publish(broker_url, "first", "second")
    with redis.Redis.from_url(broker_url) as server:
        for raw in server.lrange("q", 0, -1):
            server.hset("unacked_deliveries", json.loads(raw)["properties"]["delivery_tag"], "2")
        with Connection(broker_url, transport=DURABLE) as connection:
            channel: Any = connection.channel()
            got: list[str] = []

            def handle(message: Message, _key: str) -> None:
                if message.payload == "first":
                    raise ConnectionError("reset by peer")
                got.append(message.payload)
                message.ack()

            consumer: Any = SimpleNamespace(pool=OpeningPool(), connection_errors=(OSError,))
            suspects = Suspects(consumer, handle)
            for _ in range(2):
                message = channel.basic_get("q")
                assert message.envelope is not None
                suspects.add(message)
            assert got == ["second"]
            wait_until(lambda: server.llen("q") == 1, "the other has gone back")
