"""Celery's consumer drops what it cannot read, and dies of some of it. Ours keeps it as a dead letter."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

import redis
from celery.exceptions import WorkerShutdown
from celery.platforms import EX_FAILURE
from celery.worker.consumer import Consumer
from celery.worker.state import revoked
from kombu.message import Message

from worker.batch import Batches
from worker.broker_errors import BROKER_ERRORS
from worker.db.pool import init_db
from worker.deliveries import OPENED_AS, is_suspect
from worker.errors import CommandFailed, DatabaseUnavailable
from worker.identify import INSTALLATION
from worker.installation import OthersBroker, OthersConnection, claim
from worker.rabbitmq.transport import RabbitChannel
from worker.rabbitmq.waiting import Delays
from worker.suspects import Suspects
from worker.undeliverable import bury_message, message_id

log = logging.getLogger("threadsync.worker")

_AGAIN_SECONDS: Final = 3.0
_REFUSED_SECONDS: Final = 1.0

_EVENTS_AT_ONCE: Final = 200
"""Events in one message; Celery's 24 made sending them two fifths of a busy worker's time."""

_EVENTS_WAIT_SECONDS: Final = 0.2
"""A chart in Flower does not mind. Celery sends at once, and each command waits for its own events. To send
some takes longer than to take a message, and a command that comes then waits: seldom is better than often."""


class DurableConsumer(Consumer):
    """Set by ``worker_consumer``. Each ``on_…`` is Celery's hook for one way of being unreadable."""

    connection_errors: tuple[type[Exception], ...]
    controller: Any
    event_dispatcher: Any
    qos: Any
    hub: Any
    pool: Any
    suspects: Suspects | None = None
    _events_are_due = False
    on_task_request: Callable[[Any], None]

    @cached_property
    def batches(self) -> Batches:
        """Commands that wait for a process."""
        return Batches(self)

    @cached_property
    def _delays(self) -> Delays:
        return Delays(self.app)

    def on_send_event_buffered(self) -> None:  # type: ignore[override]  # the stubs say otherwise
        """Celery's hook: there is an event more to send."""
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
        """Consume until the end; another installation's broker is the end."""
        # Its threads need memory that a message may have taken by the time that one is to be buried.
        init_db(min_size=0)
        try:
            super().start()
        except OthersBroker as exc:
            log.critical("%s", exc)
            raise WorkerShutdown(EX_FAILURE) from None

    def connect(self) -> Any:
        """Celery's way to the broker, at the start and again: see whose it is before anything is taken."""
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
        """Celery's hook for a lost connection, and the first step of a stop."""
        self.batches.forget()
        if self.suspects:
            self.suspects.forget()
        super().on_close()

    def on_unknown_message(self, body: Any, message: Message) -> None:
        self._park(message, CommandFailed("not a Celery task message"))

    def on_unknown_task(self, body: Any, message: Message, exc: BaseException) -> None:
        self._park(message, CommandFailed("no task of this name here; a newer release may have sent it"))

    def on_invalid_task(self, body: Any, message: Message, exc: BaseException) -> None:
        self._park(message, exc)

    def on_decode_error(self, message: Message, exc: BaseException) -> None:
        self._park(message, exc)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:
        """Celery's handler, whose unforeseen errors would end the worker, again after every restart."""
        handle = super().create_task_handler(*args, **kwargs)
        # With the former connection its timers have gone.
        self._events_are_due = False
        # Made anew with each connection, like this handler.
        if self.event_dispatcher:
            self.event_dispatcher.buffer_limit = _EVENTS_AT_ONCE

        def handle_or_park(message: Message) -> None:
            if is_suspect(message):
                suspects.add(message)
            else:
                handle_one(message)

        def handle_one(message: Message, opened_as: str | None = None) -> None:
            try:
                if isinstance(message.headers, dict):
                    # Ours alone to say.
                    message.headers.pop(OPENED_AS, None)
                    if opened_as:
                        message.headers[OPENED_AS] = opened_as
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
        """Whether the broker keeps the message until it is due; it goes back there when that is refused."""
        if not isinstance(message.channel, RabbitChannel):
            return False
        if message_id(message) in revoked:
            # Celery drops it now: by the time that it is due the revocation may be forgotten.
            return False
        # For worker/suspects.py, which hears only that the message is acknowledged.
        watched: Any = message
        watched.is_put_away = True
        try:
            watched.is_put_away = self._delays.put_away(message)
            return bool(watched.is_put_away)
        except BROKER_ERRORS as exc:
            log.warning("broker does not keep a message until it is due: %s", exc)
            again = (log, self.connection_errors, True)
            self.timer.call_after(_AGAIN_SECONDS, message.reject_log_error, again)
            return True

    def _park(self, message: Message, error: BaseException) -> None:
        try:
            bury_message(message, error)
        # Whatever it is: the message goes back, the worker goes on.
        except Exception as exc:  # noqa: BLE001
            log.warning("unreadable message waits for its dead letter to be written: %r", exc)
            # For worker/suspects.py: if it is not Postgres that is away it would be the same for ever.
            watched: Any = message
            watched.ended_its_process = not isinstance(exc, DatabaseUnavailable)
            again = (log, self.connection_errors, True)
            self.timer.call_after(_AGAIN_SECONDS, message.reject_log_error, again)
        else:
            log.error("unreadable message is now a dead letter: %s", error)
            message.ack_log_error(log, self.connection_errors)
            self._answer(message, error)

    def _answer(self, message: Message, error: BaseException) -> None:
        """Whoever waits for the result need not wait for ever."""
        task_id = message_id(message)
        if task_id:
            self.app.backend.mark_as_failure(task_id, CommandFailed(str(error)))
