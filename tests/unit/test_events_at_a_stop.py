"""Events in flight while a worker stops: Celery sends them in a thread, and closes under it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from celery import Celery

from worker.durable.consumer import DurableConsumer


class SlowProducer:
    """A producer whose broker stands still: publishing takes until ``going_on`` is called."""

    def __init__(self, going_on: Callable[[], object]) -> None:
        self.is_publishing = threading.Event()
        self._going_on = going_on

    def publish(self, *args: Any, **options: Any) -> None:
        self.is_publishing.set()
        self._going_on()


def consumer_with(going_on: Callable[[], object]) -> tuple[Any, SlowProducer]:
    """Make a consumer whose dispatcher has an event to send."""
    consumer: Any = DurableConsumer.__new__(DurableConsumer)
    with Celery(broker="memory://", set_as_current=False) as app:
        dispatcher = app.events.Dispatcher(app.connection_for_write(), buffer_group=["task"])
    dispatcher.send("task-received", uuid="1")
    dispatcher.producer = producer = SlowProducer(going_on)
    consumer.event_dispatcher = dispatcher
    return consumer, producer


def test_a_dispatcher_that_is_closed_meanwhile_is_no_error() -> None:
    """A dispatcher that is closed while the broker stands still raises no error."""
    thawed = threading.Event()
    consumer, producer = consumer_with(thawed.wait)
    with ThreadPoolExecutor(1) as threads:
        flushing = threads.submit(consumer._flush_events)
        assert producer.is_publishing.wait(10)
        try:
            consumer.event_dispatcher.close()
        finally:
            thawed.set()
        assert flushing.exception(timeout=10) is None


def test_any_other_is_raised() -> None:
    """An error from another release of the lock is raised."""
    consumer, _ = consumer_with(lambda: consumer.event_dispatcher.mutex.release())
    with pytest.raises(RuntimeError, match="unlocked"):
        consumer._flush_events()
