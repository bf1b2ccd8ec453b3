"""Celery's consumer, which keeps unreadable messages as dead letters instead of dropping them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, Final

import redis
from celery.exceptions import WorkerShutdown
from celery.platforms import EX_FAILURE
from celery.worker.consumer import Consumer
from celery.worker.state import revoked
from kombu.message import Message

from threadsync.broker.errors import BROKER_ERRORS
from threadsync.broker.installation import OthersBroker, claim
from threadsync.broker.ownership import OthersConnection
from threadsync.errors import CommandFailed, named
from worker.durable.admission import NO_SUCH_TASK, admit
from worker.durable.batching import Batches
from worker.durable.burial import message_id
from worker.durable.burial_line import Burials, give_back
from worker.durable.deliveries import OPENED_AS, is_suspect
from worker.durable.lane.lane import Lane
from worker.durable.rabbitmq.transport import RabbitChannel
from worker.durable.rabbitmq.waiting import Delays
from worker.durable.startup import INSTALLATION
from worker.durable.suspects import Suspects
from worker.durable.transport import DurableChannel
from worker.durable.waiting import MOST_HELD

log = logging.getLogger("threadsync.worker")

_AGAIN_SECONDS: Final = 3.0
_REFUSED_SECONDS: Final = 1.0

_EVENTS_AT_ONCE: Final = 200
"""Most events in one message: with Celery's 24, sending took two fifths of a busy worker's time."""

_EVENTS_WAIT_SECONDS: Final = 0.2
"""Delay before events are sent: Celery sends at once, and each command would wait for its events."""


class DurableConsumer(Consumer):
    """Consumer of ``worker_consumer``. Most ``on_…`` are Celery's hooks for unreadable messages."""

    connection_errors: tuple[type[Exception], ...]
    controller: Any
    event_dispatcher: Any
    qos: Any
    hub: Any
    pool: Any
    strategies: Mapping[str, Any]
    task_consumer: Any
    suspects: Suspects | None = None
    _events_are_due = False
    held_until_due = 0
    """The number of messages held until they are due; above a limit RabbitMQ's wait in the broker."""
    on_task_request: Callable[[Any], None]

    def __init__(self, *args: Any, **options: Any) -> None:
        # Gossip of other workers is of no use here, and would take the main process's time.
        super().__init__(*args, **{**options, "without_gossip": True})

    @cached_property
    def batches(self) -> Batches:
        """The commands that wait for a process."""
        return Batches(self)

    @cached_property
    def lane(self) -> Lane:
        """The fast lane of plain commands."""
        return Lane(self)

    @cached_property
    def burials(self) -> Burials:
        """The messages that are to be dead letters."""
        return Burials(self)

    @cached_property
    def _delays(self) -> Delays:
        return Delays(self.app)

    def on_send_event_buffered(self) -> None:  # type: ignore[override]  # the stubs say otherwise
        """Send buffered events a little later, together. Celery's hook for each new event."""
        if not self._events_are_due:
            self._events_are_due = True
            self.timer.call_after(_EVENTS_WAIT_SECONDS, self._flush_events)

    def _flush_events(self) -> None:
        self._events_are_due = False
        dispatcher = self.event_dispatcher
        if not dispatcher:
            return
        try:
            dispatcher.flush()
        except RuntimeError:
            # At a stop Celery calls timers in a thread, waits a second for it, and closes the dispatcher. If
            # that is in the middle of sending, its lock is gone, and the events cannot go out any more.
            if dispatcher.producer is not None:
                raise

    def start(self) -> None:
        """Consume until the worker stops, or the broker turns out to be another installation's."""
        try:
            super().start()
        except OthersBroker as exc:
            log.critical("%s", exc)
            raise WorkerShutdown(EX_FAILURE) from None

    def connect(self) -> Any:
        """Connect, at the start and again, and check the broker's owner before taking any message."""
        connection = super().connect()
        try:
            claim(connection, self.app.conf[INSTALLATION])
        except BaseException as exc:
            connection.close()
            if isinstance(exc, redis.ResponseError):
                # Celery pauses for a broker that is away; of one that refuses it would ask at once, for ever.
                time.sleep(_REFUSED_SECONDS)
            raise
        return connection

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        if isinstance(exc, OthersConnection):
            raise OthersBroker(str(exc)) from exc
        super().on_connection_error_after_connected(exc)

    def on_close(self) -> None:
        """Forget waiting messages when the connection is lost or the worker begins to stop. Celery's hook."""
        self.batches.forget()
        self.lane.forget()
        self.burials.forget()
        if self.suspects:
            self.suspects.forget()
        super().on_close()

    def on_unknown_message(self, body: Any, message: Message) -> None:
        self._park(message, CommandFailed("not a Celery task message"))

    def on_unknown_task(self, body: Any, message: Message, exc: BaseException) -> None:
        self._park(message, CommandFailed(NO_SUCH_TASK))

    def on_invalid_task(self, body: Any, message: Message, exc: BaseException) -> None:
        self._park(message, exc)

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        consumer = getattr(self, "task_consumer", None)
        if consumer and getattr(message, "channel", None) is consumer.channel:
            self._park(message, exc)
        else:
            # Remote control needs no dead letters.
            log.warning("what was said to all workers cannot be read: %s", named(exc))

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:
        """Wrap Celery's handler, whose unforeseen errors would end the worker, again after every restart."""
        handle = super().create_task_handler(*args, **kwargs)
        # The former connection's timers have gone.
        self._events_are_due = False
        self.held_until_due = 0
        # Made for each connection, like this handler.
        if self.event_dispatcher:
            self.event_dispatcher.buffer_limit = _EVENTS_AT_ONCE

        channel = self.task_consumer.channel
        if isinstance(channel, DurableChannel):
            channel.lane = self.lane

        def handle_or_park(message: Any) -> None:
            if is_suspect(message):
                suspects.add(message)
            else:
                handle_one(message)

        def handle_one(message: Any, opened_as: str | None = None) -> None:
            # For worker/durable/request.py, which hears of what goes wrong later.
            message.keep_letter = self.keep_letter
            try:
                if isinstance(message.headers, dict):
                    # Ours alone to say.
                    message.headers.pop(OPENED_AS, None)
                    if opened_as:
                        message.headers[OPENED_AS] = opened_as
                admit(message, self.strategies)
                if not self._waits_elsewhere(message):
                    handle(message)
            except Exception as exc:
                # kombu counts KeyError among the broker's own errors; here it is the message's.
                if isinstance(exc, self.connection_errors) and not isinstance(exc, LookupError):
                    raise
                self._park(message, exc)

        suspects = self.suspects = Suspects(self, handle_one, self.suspects)
        return handle_or_park

    def _waits_elsewhere(self, message: Message) -> bool:
        """Return True if the broker keeps the message until it is due, or has it back after a refusal."""
        if not isinstance(message.channel, RabbitChannel):
            return False
        if message_id(message) in revoked:
            # Celery drops it now: by the time that it is due the revocation may be forgotten.
            return False
        # For worker/durable/suspects.py, which hears only that the message is acknowledged.
        watched: Any = message
        watched.is_put_away = True
        try:
            watched.is_put_away = self._delays.put_away(message, has_room=self.held_until_due < MOST_HELD)
            return bool(watched.is_put_away)
        except BROKER_ERRORS as exc:
            log.warning("broker does not keep a message until it is due: %s", exc)
            again = (log, self.connection_errors, True)
            self.timer.call_after(_AGAIN_SECONDS, message.reject_log_error, again)
            return True

    def _park(self, message: Message, error: BaseException) -> None:
        self.keep_letter(message, error, partial(message.ack_log_error, log, self.connection_errors))

    def keep_letter(
        self, message: Message, error: BaseException, then: Callable[[], None], *, answer: bool = True
    ) -> None:
        """Keep the message as a dead letter, then call ``then`` to end the message."""
        try:
            self.burials.add(message, error, then, answer=answer)
        except MemoryError as exc:
            # Perhaps not the message's fault. After several deliveries a child opens it, after a record.
            log.warning("a message goes back: %s", named(exc))
            again = partial(give_back, message, self.connection_errors, is_death=True)
            self.timer.call_after(_AGAIN_SECONDS, again)
