"""Celery's request, which loses no message even if its command ends in an unusual way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import structlog
from amqp.exceptions import AMQPError
from billiard.einfo import ExceptionWithTraceback  # type: ignore[attr-defined]
from celery.exceptions import (
    Ignore,
    InvalidTaskError,
    Reject,
    Retry,
    SoftTimeLimitExceeded,
    TaskRevokedError,
    Terminated,
    TimeLimitExceeded,
    WorkerLostError,
)
from celery.worker.request import Request
from celery.worker.state import task_ready
from kombu.exceptions import OperationalError
from kombu.message import Message
from redis import RedisError

from threadsync.broker.errors import is_about_the_way
from threadsync.errors import DatabaseUnavailable, ThreadsyncError
from worker.durable.deliveries import nameless
from worker.durable.redaction import shown, shown_of_an_end
from worker.durable.retry_policy import HEADER, LONGEST_PAUSE_SECONDS, read_history

log = structlog.get_logger("threadsync.worker")
tasks_log = structlog.get_logger("threadsync.tasks")

# Ours are settled by the task itself; the others say what Celery is to do, or hand the message back.
_SETTLED = (ThreadsyncError, Ignore, Reject, Retry, Terminated, TimeLimitExceeded, WorkerLostError)
# Outside the command, whose effect is there or comes with the next run: the broker did not take what is to
# be sent when it has ended (`link`, `link_error`, a chain), or its time was over in between.
_AGAIN = (SoftTimeLimitExceeded, OperationalError, RedisError, AMQPError, OSError, MemoryError)
# Without memory, or time for its follow-ups, it would run again and again: that counts as a death.
_DEATHS = (WorkerLostError, TimeLimitExceeded, SoftTimeLimitExceeded, MemoryError)


def error_in(exc_info: Any) -> BaseException:
    """Return the error that the pool reports, unwrapped."""
    error: BaseException = exc_info.exception
    return error.exc if isinstance(error, ExceptionWithTraceback) else error


def leave_letter(error: ThreadsyncError, reason: BaseException) -> None:
    """Mark an error whose dead letter the main process must write, as its child cannot."""
    tasks_log.info("dead letter is left to the main process", reason=f"{type(reason).__name__}: {reason}")
    error.needs_letter = True  # type: ignore[attr-defined]  # travels with the error


def needs_letter(error: BaseException) -> bool:
    """Return True if a command failed for good, and its child could not write the dead letter."""
    return bool(getattr(error, "needs_letter", False))


class DurableRequest(Request):
    """Request of ``DurableTask.Request``, in the worker's main process."""

    def __init__(self, message: Message, *args: Any, **kwargs: Any) -> None:
        super().__init__(message, *args, **kwargs)
        if not isinstance(self.id, str) or not self.id:
            # Another client's message. Results, records and dead letters need an id of its own.
            self.id = self.request_dict["id"] = nameless(message)
        # Protocol 1, args left out: Celery's default.
        if self.args == ():
            self._args: list[Any] = []
        # A child would take these for a success without a result, and the message would be gone.
        if not isinstance(self.args, list) or not isinstance(self.kwargs, dict):
            raise InvalidTaskError("arguments must be a JSON array, keyword arguments a JSON object")
        self._wait_by_own_clock()
        self._hide_arguments()

    def _wait_by_own_clock(self) -> None:
        """Let a copy of ours wait from now on, as another machine's clock may be minutes off."""
        headers = self.request_dict
        if HEADER not in headers:
            return
        now, pause = datetime.now(UTC), read_history(headers).pause
        if pause:
            self._eta = now + timedelta(seconds=pause)
        elif self._eta:
            # A copy of an older release, whose pauses were at most this long.
            self._eta = min(self._eta, now + timedelta(seconds=LONGEST_PAUSE_SECONDS))

    def _hide_arguments(self) -> None:
        """Redact the arguments in events, logs and the headers that a waiting command sends on."""
        headers: dict[str, Any] = self.request_dict
        self._argsrepr, self._kwargsrepr = headers["argsrepr"], headers["kwargsrepr"] = shown(
            getattr(self.task, "command", None),
            self.args,
            self.kwargs,
            headers.get("argsrepr"),
            headers.get("kwargsrepr"),
        )

    def send_event(self, type: str, **fields: Any) -> Any:
        """Send an event, without the words of a plain task's result or error."""
        return super().send_event(type, **shown_of_an_end(self.task, fields))

    def info(self, safe: bool = False) -> Any:
        """Describe the request for `celery inspect` and Flower, always without its arguments."""
        return super().info(safe=True)

    def __init_subclass__(cls, **options: Any) -> None:
        """Remove the methods that Celery's class for each task puts in front of ours, to save calls."""
        super().__init_subclass__(**options)
        for name in ("execute_using_pool", "on_success"):
            if name in cls.__dict__:
                delattr(cls, name)

    def execute_using_pool(self, pool: Any, **options: Any) -> Any:
        """Give the request to the pool; if that is impossible end it, and free its place."""
        try:
            return super().execute_using_pool(pool, **options)
        except TaskRevokedError:
            raise
        except Exception as exc:
            self.cannot_run(exc)
            # Celery's way to say that the place is free.
            raise TaskRevokedError(self.id) from exc

    def is_wanted(self) -> bool:
        """Return True if the request is still to be run; else it has ended."""
        try:
            return not self.revoked()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the others of its batch are to run
            self.cannot_run(exc)
            return False

    def maybe_expire(self) -> bool:  # type: ignore[override]  # Celery's says True or None
        """Return True if the request has expired; do not revoke its id, which another message may share."""
        return self.expires is not None and datetime.now(self.expires.tzinfo) > self.expires

    def cannot_run(self, error: BaseException) -> None:
        """End the message by a dead letter, as it cannot be given to a process of the pool."""
        self.message.keep_letter(self.message, error, self._end)

    def _end(self) -> None:
        task_ready(self)
        if not self.acknowledged:
            self.acknowledge()

    def hand_back(self) -> None:
        """Hand the message back, so that a worker runs it again."""
        task_ready(self)
        self.reject(requeue=True)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Store no failure, unlike Celery: a command that is out of time runs again."""
        if soft:
            super().on_timeout(soft, timeout)
        else:
            log.error("command ran out of time", task_id=self.id, command=self.name, seconds=timeout)

    def on_success(self, failed__retval__runtime: tuple[Any, Any, Any], **kwargs: Any) -> Any:
        # For worker/durable/suspects.py: its records are in order, whatever the end was.
        self.message.ran_to_its_end = True
        return super().on_success(failed__retval__runtime, **kwargs)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """Keep the message after an error from outside the command: Celery would lose it."""
        error = error_in(exc_info)
        # For worker/durable/suspects.py, which hears only that the message goes back.
        self.message.ended_its_process = isinstance(error, _DEATHS)
        # Celery's mark: the command has been carried out, and what is to follow it, say, could not be sent.
        is_outside = bool(getattr(exc_info, "internal", False))
        is_again = isinstance(error, _AGAIN) or (is_outside and isinstance(error, DatabaseUnavailable))
        # A message may ask for another one to follow, anywhere: not there, and the next time neither.
        if is_again and not is_about_the_way(error):
            log.warning("command handed back", task_id=self.id, command=self.name, reason=str(error))
            return self.hand_back()
        tell = partial(super().on_failure, exc_info, send_failed_event, return_ok)
        is_unsettled = is_outside and isinstance(error, ThreadsyncError)
        if isinstance(error, _SETTLED) and not needs_letter(error) and not is_unsettled:
            return tell()
        # The error may quote the sender; the dead letter has its text.
        reason = type(error).__name__
        log.error("unreadable message is buried", task_id=self.id, command=self.name, reason=reason)
        # The child has stored the result.
        return self.message.keep_letter(self.message, error, tell, answer=False)
