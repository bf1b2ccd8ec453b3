"""The client's messages and events, sent without Celery and equal to Celery's own."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import redis

from tests.support.waiting import wait_until
from threadsync import GetOrCreate, SendHook, SessionClient, add_send_hook, send_hooks
from threadsync.broker import publishing
from threadsync.config import load_settings
from worker.doctor.app import app_of

COMMAND: Final = GetOrCreate(channel_id="C0123ABC", thread_ts="1700000000.000100", user_id="U0456")
OF_ONE_SENDING: Final = {"timestamp", "clock", "sent_at", "reply_to", "delivery_tag"}


def sent_by(send: Callable[[], object], broker_url: str) -> list[dict[str, Any]]:
    """Return the comparable parts of the message and the event that ``send`` puts into the broker."""
    with redis.Redis.from_url(broker_url) as server, server.pubsub(ignore_subscribe_messages=True) as heard:
        heard.psubscribe(f"/{urlsplit(broker_url).path[1:]}.celeryev/*")
        wait_until(lambda: server.pubsub_numpat() > 0, "the events are listened to")
        send()
        message = server.rpop("sessions")
        event = next(told for _ in range(50) if (told := heard.get_message(timeout=1)))
        sent = entry(message)
        # Celery repeats this option of `send_task` in the properties, but reads it from the headers.
        sent["properties"].pop("kwargsrepr", None)
        return [without(sent), without(entry(event["data"]))]


def entry(text: Any) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(text)
    return {**read, "body": json.loads(base64.b64decode(read["body"]))}


def without(told: Any) -> Any:
    """Return a copy without the parts that differ from one sending to the next."""
    if isinstance(told, dict):
        return {name: without(value) for name, value in told.items() if name not in OF_ONE_SENDING}
    return [without(item) for item in told] if isinstance(told, list) else told


def test_as_celery_sends_them(broker_url: str) -> None:
    """The client's message and event equal Celery's, except for times and random ids."""
    app = app_of(load_settings(celery_broker_url=broker_url))
    app.conf.task_send_sent_event = True

    def by_celery() -> None:
        app.send_task(
            COMMAND.name,
            kwargs=COMMAND.arguments(),
            kwargsrepr=COMMAND.summary(),
            queue=COMMAND.queue,
            task_id="one",
            ignore_result=False,
        )

    with SessionClient(broker_url) as client:
        ours = sent_by(lambda: client.enqueue(COMMAND, task_id="one"), broker_url)
    assert ours == sent_by(by_celery, broker_url)
    app.close()


def test_a_hook_may_add_a_header(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A send hook may add a header to the message, such as a trace's."""
    hooks: list[SendHook] = []
    monkeypatch.setattr(send_hooks, "HOOKS", hooks)
    monkeypatch.setattr(publishing, "HOOKS", hooks)
    seen: list[str] = []

    @contextmanager
    def traced(task: str, headers: dict[str, Any]) -> Iterator[None]:
        headers["traceparent"] = "00-1-2-01"
        yield
        seen.append(task)

    add_send_hook(traced)
    with SessionClient(broker_url) as client:
        message, _ = sent_by(lambda: client.enqueue(COMMAND), broker_url)
    assert (message["headers"]["traceparent"], seen) == ("00-1-2-01", [COMMAND.name])
