"""Send the worker's heartbeat to the broker every few seconds, with how it uses its queues."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

from celery import bootsteps
from celery.worker.consumer.tasks import Tasks

from threadsync.broker.errors import BROKER_ERRORS
from threadsync.broker.installation import OthersBroker, claim
from threadsync.broker.ownership import OthersConnection
from threadsync.liveness.heartbeats import REPORT_SECONDS, worker_is_gone, worker_is_there
from threadsync.liveness.state import QueueUse
from worker.durable.rabbitmq.transport import RabbitChannel
from worker.durable.startup import INSTALLATION
from worker.durable.transport import DurableChannel

_UNHEARD_SECONDS: Final = 6
"""Silence of RabbitMQ, with a heartbeat every 2.5 s, after which a call would hold the event loop up."""


class Heartbeat(bootsteps.StartStopStep):
    """Step of the consumer, made for each connection. A stock transport sends no heartbeats."""

    requires = (Tasks,)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._timer: Any = None
        # The queues that the worker was started for; the report shows which of them it still takes from.
        self._queues = tuple(parent.app.amqp.queues.consume_from)

    def start(self, parent: Any) -> None:
        self._tell(parent)
        self._timer = parent.timer.call_repeatedly(REPORT_SECONDS, self._tell, (parent,))

    def stop(self, parent: Any) -> None:
        self._cancel()
        channel = _channel(parent)
        if channel:
            # The broker may be what ends us.
            with contextlib.suppress(*BROKER_ERRORS), _to_write(parent, channel) as writing:
                worker_is_gone(writing, parent.hostname)

    def shutdown(self, parent: Any) -> None:
        self._cancel()

    def _cancel(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _tell(self, parent: Any) -> None:
        channel = _channel(parent)
        if not channel:
            return
        if not _is_silent(channel):
            claim_again(parent)
        uses = {queue: QueueUse(*channel.seconds_since_use(queue)) for queue in self._queues}
        held = channel.held if isinstance(channel, RabbitChannel) else None
        # The next one will say it; others notice that the broker is away.
        with contextlib.suppress(*BROKER_ERRORS), _to_write(parent, channel) as writing:
            worker_is_there(writing, parent.hostname, uses, held)


def claim_again(parent: Any) -> None:
    """Claim a broker that was emptied; take nothing more if another installation has taken it over."""
    try:
        claim(parent.connection, parent.app.conf[INSTALLATION])
    except OthersBroker as exc:
        # As an error of the connection, so that the event loop ends at once, before it reads what came.
        raise OthersConnection(str(exc)) from exc
    except BROKER_ERRORS:
        return


def _channel(parent: Any) -> DurableChannel | RabbitChannel | None:
    channel = getattr(parent.task_consumer, "channel", None)
    return channel if isinstance(channel, DurableChannel | RabbitChannel) else None


@contextlib.contextmanager
def _to_write(parent: Any, channel: DurableChannel | RabbitChannel) -> Iterator[Any]:
    if not isinstance(channel, RabbitChannel):
        yield channel
        return
    # RabbitMQ with an alarm reads nothing more of a connection that publishes, acknowledgements neither.
    if _is_silent(channel):
        raise TimeoutError("the broker is silent")
    with parent.app.connection_or_acquire() as connection:
        yield connection.default_channel


def _is_silent(channel: DurableChannel | RabbitChannel) -> bool:
    """Return True if RabbitMQ is silent, so that a question would hold the event loop up."""
    return isinstance(channel, RabbitChannel) and (
        not channel.connection or channel.connection.seconds_since_heard() > _UNHEARD_SECONDS
    )
