"""Base of every task of the app: no accepted command gets lost, and none runs for ever.

    message -> delivered often? opened alone, after a record (suspects.py)
            -> run
            -> result
             | a pause, and the same message again (retry_policy.py)
             | dead letter, and an error as its result

It is the app's ``task_cls``, so a plain ``@app.task`` has it too.
"""

from __future__ import annotations

import json
import random
import re
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

import structlog
from celery import Task
from celery.app.task import Context
from celery.exceptions import Ignore, Reject, Retry
from kombu.exceptions import EncodeError
from kombu.utils import json as celerys_json
from structlog.contextvars import bind_contextvars, reset_contextvars

from threadsync.config import get_settings
from threadsync.errors import DatabaseUnavailable, ThreadsyncError, as_ours
from worker.db.dead_letters.letter import Letter
from worker.db.dead_letters.store import DeadLetterStore
from worker.db.driver_errors import is_about_the_content
from worker.db.forgetting.arrivals import redaction
from worker.durable import waiting
from worker.durable.deliveries import OPENED_AS
from worker.durable.request import DurableRequest, leave_letter
from worker.durable.retry_policy import HEADER, GiveUp, History, Wait, decide, read_history
from worker.observe import metrics

_ID: Final = re.compile(r"[A-Za-z0-9]{1,64}", re.ASCII)
_LOGGED_OF_AN_ANSWER: Final = ("channel_id", "thread_ts", "status", "outcome")

# Errors of the message, and of no broker's state.
_CANNOT_BE_SENT: Final = (EncodeError, TypeError, OverflowError, RecursionError, UnicodeError, struct.error)

log = structlog.get_logger("threadsync.tasks")


class _Copies:
    """Notes of a batch: the broker has refused a copy of a command that must wait."""

    in_batch = False
    refused = False


_copies = _Copies()


@contextmanager
def batch_of_commands() -> Iterator[None]:
    """Let a refused copy of one command in the block spare the others the attempt.

    If each waited for a time-out of its own, the process would be killed for it.
    """
    _copies.in_batch = True
    try:
        yield
    finally:
        _copies.in_batch = _copies.refused = False


class DurableTask(Task):  # type: ignore[type-arg]  # generic in the stubs only
    """Base of all tasks. Limits and acknowledgement are the app's settings: worker/celery.py."""

    abstract = True
    Request: Any = DurableRequest
    Strategy: Any = staticmethod(waiting.strategy)
    # Expected, so no traceback in the log.
    throws = (ThreadsyncError,)
    max_retries = None
    is_routine = False
    """True for a task that beat sends all the time, whose runs are not logged."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run one delivery of the command; called as a function, run the task plainly."""
        # Looked up once: a property that searches a stack.
        request = self.request
        if request.called_directly:
            return super().__call__(*args, **kwargs)
        history = read_history(request.headers)
        bound = bind_contextvars(task_id=request.id, task=self.name)
        try:
            started = time.perf_counter()
            opened_as = _opened_as(request)
            if (request.delivery_info or {}).get("redelivered"):
                log.info("task delivered again")
            try:
                args, kwargs = self._without_forgotten(args, kwargs)
                # Not before: a forgotten person's id is in no new line of the log.
                bound = {**bound, **bind_contextvars(**_actor(kwargs))}
                answer = self.run(*args, **kwargs)
            except (Retry, Ignore, Reject):
                raise
            # Whatever else it is, the message must not be lost.
            except Exception as exc:  # noqa: BLE001
                self._settle(exc, args, kwargs, history)
            if opened_as or history.counted:
                self._forget_redeliveries(opened_as or history.record or request.id or "")
            self._count(request, _outcome(answer))
            tell = log.debug if self.is_routine else log.info
            tell("task done", seconds=round(time.perf_counter() - started, 4), **_fields(answer))
            return answer
        finally:
            reset_contextvars(**bound)

    def _without_forgotten(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Leave out people who were forgotten within the last day, also in a copy that waits."""
        if self.is_routine or not (known := redaction()):
            return args, kwargs
        args, kwargs = known.values(args), known.arguments(kwargs)
        self.request.args, self.request.kwargs = args, kwargs
        return args, kwargs

    def _forget_redeliveries(self, key: str) -> None:
        # Tidying up; the task has run, and must not run once more for this.
        with _kept("deaths kept"):
            DeadLetterStore().forget_redeliveries(key)

    def _settle(self, error: Exception, args: Any, kwargs: Any, history: History) -> NoReturn:
        """Let the command wait or fail for good, as ``retry_policy`` decides. Always raises."""
        decision = self._decide(error, history)
        if isinstance(decision, GiveUp):
            away = self._bury(decision.error, args, kwargs, history)
            if not away:
                # A letter takes the record of the task's id away; this one may have another name.
                record = _opened_as(self.request) or history.record
                if record and record != self.request.id:
                    self._forget_redeliveries(record)
                self._count(self.request, "failed")
                log.warning("task failed", error=type(decision.error).__name__, reason=str(decision.error))
                # `from None`: results and events show the chain; a driver's error may quote the arguments.
                raise decision.error.with_traceback(error.__traceback__) from None
            # The same is decided again when a letter can be written.
            decision = self._decide(away, history)
        assert isinstance(decision, Wait)  # noqa: S101 - an unavailable database is always waited for
        self._wait(decision)

    def _decide(self, error: Exception, history: History) -> GiveUp | Wait:
        jitter = random.random()  # noqa: S311 - spreads load, hides nothing
        return decide(error, history, get_settings().session_wait_seconds, jitter)

    def _count(self, request: Context, outcome: str) -> None:
        if not self.is_routine:
            metrics.command_ended(self.name, outcome, request.headers)

    def _wait(self, decision: Wait) -> NoReturn:
        self._count(self.request, "waits")
        log.info("task waits", seconds=round(decision.seconds, 3), reason=str(decision.reason))
        opened_as = _opened_as(self.request)
        if opened_as:
            with _kept("record of the opening kept"):
                DeadLetterStore().close_suspect(opened_as)
        history = decision.history.model_copy(
            update={
                "counted": decision.history.counted or bool(opened_as),
                "record": opened_as or decision.history.record,
                "first_attempt_at": decision.history.first_attempt_at or datetime.now(UTC),
                "pause": decision.seconds,
            }
        )
        headers = {**(self.request.headers or {}), HEADER: history.model_dump(mode="json")}
        headers.pop(OPENED_AS, None)
        # As they may be shown: worker/durable/redaction.py.
        shown: dict[str, Any] = {name: self.request.get(name) for name in ("argsrepr", "kwargsrepr")}
        if _copies.refused:
            raise Reject("the broker did not take a copy of another command of this batch", requeue=True)
        try:
            # The pause is in the header: worker/durable/request.py.
            again = self.retry(exc=decision.reason, countdown=0, headers=headers, throw=False, **shown)
        except Reject as exc:
            # The copy that is to run later could not be published; Celery would drop the message now.
            reason: Any = exc.args[0]
            if isinstance(reason, _CANNOT_BE_SENT):
                # Nor could it be the next time.
                error = as_ours(reason)
                leave_letter(error, error)
                raise error from None
            _copies.refused = _copies.in_batch
            raise Reject(exc, requeue=True) from exc
        # The event has the chain, as above.
        raise again from None

    def _bury(
        self, error: ThreadsyncError, args: Any, kwargs: Any, history: History
    ) -> DatabaseUnavailable | None:
        """Keep the command as a dead letter; return the reason why that cannot be done now."""
        try:
            self._write_letter(error, args, kwargs, history)
        except Exception as exc:  # noqa: BLE001
            if not is_about_the_content(exc):
                return DatabaseUnavailable(f"no dead letter could be written: {exc}")
            leave_letter(error, exc)
        return None

    def _write_letter(self, error: ThreadsyncError, args: Any, kwargs: Any, history: History) -> None:
        DeadLetterStore().bury(
            Letter(
                task_id=self.request.id or "",
                task_name=self.name,
                queue=(self.request.delivery_info or {}).get("routing_key")
                or self.app.conf.task_default_queue,
                arguments=_as_json({"args": list(args), "kwargs": kwargs}),
                error=error,
                attempts=history.pauses + 1,
                first_attempt_at=history.first_attempt_at or datetime.now(UTC),
            )
        )
        metrics.message_buried(self.name)


def fields_of_done(
    name: str, task_id: str, kwargs: Any, result: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    """Return the fields of the line "task done" of a command that was carried out with others."""
    actor, fields = _actor(kwargs), _fields(result)
    return {"task_id": task_id, "task": name, **actor, "seconds": seconds, **fields}


@contextmanager
def _kept(event: str) -> Iterator[None]:
    """Log an error of the block if Postgres is away, as only a record is lost."""
    try:
        yield
    except DatabaseUnavailable as exc:
        log.info(event, reason=str(exc))


def _as_json(arguments: Any) -> str:
    """Return arguments as JSON text, by Celery's JSON where they need it, such as moments."""
    try:
        return json.dumps(arguments)
    except TypeError:
        return celerys_json.dumps(arguments)


def _opened_as(request: Context) -> str:
    """Return the key of the record after which the message was opened; empty if there is none."""
    return str((request.headers or {}).get(OPENED_AS) or "")


def _actor(kwargs: Any) -> dict[str, str]:
    """Return the actor for the log: a Slack id, or the place of a claimed name, which may be an address."""
    actor = kwargs.get("actor") if isinstance(kwargs, Mapping) else None
    told = (actor.get("user_id") or actor.get("via")) if isinstance(actor, Mapping) else None
    return {"actor": told} if isinstance(told, str) and _ID.fullmatch(told) else {}


def _outcome(answer: Any) -> str:
    return str(answer["outcome"]) if isinstance(answer, Mapping) and "outcome" in answer else "ok"


def _fields(answer: Any) -> dict[str, Any]:
    """Pick the fields of a result for the log: session and outcome, never texts of people."""
    if not isinstance(answer, Mapping):
        return {}
    return {name: answer[name] for name in _LOGGED_OF_AN_ANSWER if name in answer}
