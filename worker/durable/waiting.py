"""Let messages that are due later wait in the broker, not in a worker's memory.

Celery keeps a message with a countdown or an ``eta`` in the worker that took it. Ours moves one that is due
in more than ``MOST_HELD_SECONDS`` to the broker, where TAKE finds it when its time has come: it survives the
worker, and fills no memory. The distance is measured once, by the worker's clock; from then on the server's
clock counts, and the message that TAKE brings runs whatever a clock here says.

A broker whose channel has no ``set_aside`` gets no such message from here. What a broker refuses to keep is
held here, as Celery does it: a refusal says nothing against the message.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from celery.worker.state import task_ready
from celery.worker.strategy import default as celery_strategy

from worker.durable.children import TakingConsumer
from worker.durable.raw_message import WAITED

MOST_HELD_SECONDS: Final = 5.0
"""Longest wait in a worker, enough for pauses of commands that wait for Postgres or a session."""

MOST_HELD: Final = 1000
"""Most messages to hold until they are due. Each takes some 8 kB, and a renewal each second."""


def strategy(task: Any, celery: Any, consumer: TakingConsumer) -> Callable[..., Any]:
    """Build Celery's own strategy, with later messages put into the broker (``DurableTask.Strategy``)."""
    stand_in = WaitingInBroker(consumer, consumer.on_task_request)
    handler: Callable[..., Any] = celery_strategy(task, celery, stand_in)
    return handler


class WaitingInBroker:
    """Stand-in for the consumer, its timer and its prefetch count in Celery's strategy."""

    def __init__(self, consumer: TakingConsumer, on_task_request: Callable[[Any], None]) -> None:
        self._consumer = consumer
        self.on_task_request = on_task_request
        self.timer = self
        self.qos = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def increment_eventually(self, n: int = 1) -> None:
        """Do nothing, where Celery makes room for a held message: ``call_at`` does so when it holds one."""

    def call_at(self, eta: float, callback: Callable[..., Any], args: Any = (), **options: Any) -> Any:
        """Hold a request until ``eta``, here or in the broker."""
        request, consumer = args[0], self._consumer
        # kombu's timers go by this clock.
        seconds = eta - time.monotonic()
        if request.message.delivery_info.get(WAITED):
            consumer.qos.increment_eventually()
            callback(*args)
            return None
        if seconds > MOST_HELD_SECONDS or consumer.held_until_due >= MOST_HELD:
            is_away = self._set_aside(request, seconds)
            _tell_that_it_waits(request.message)
            if is_away:
                return None
        consumer.qos.increment_eventually()
        consumer.held_until_due += 1
        # With Celery's own arguments, by which `inspect scheduled` finds the request.
        return consumer.timer.call_at(eta, partial(self._due, callback), args, **options)

    def _due(self, callback: Callable[..., Any], *args: Any) -> None:
        self._consumer.held_until_due -= 1
        callback(*args)

    def _set_aside(self, request: Any, seconds: float) -> bool:
        message = request.message
        set_aside = getattr(message.channel.qos, "set_aside", None)
        if set_aside is None or not set_aside(message.delivery_tag, seconds):
            return False
        task_ready(request)
        return True


def _tell_that_it_waits(message: Any) -> None:
    """Tell a suspect's line that its message waits, so that the next one may be opened."""
    on_set_aside = getattr(message, "on_set_aside", None)
    if on_set_aside:
        on_set_aside()
