"""Write dead letters of messages that never reach a command: junk, unknown names, unreadable bodies.

They are kept with their bytes as they came. ``worker.durable.burial_line`` lets a child call ``bury_all``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from random import sample
from time import monotonic
from typing import Any, Final, Literal

from billiard.exceptions import SoftTimeLimitExceeded
from celery import current_app
from kombu.message import Message

from threadsync.errors import CommandFailed, DatabaseFault, DatabaseUnavailable, as_ours, named
from worker.db.dead_letters.letter import Letter
from worker.db.dead_letters.store import DeadLetterStore
from worker.db.driver_errors import is_about_the_content, may_be_about_the_content
from worker.db.forgetting.arrivals import redaction
from worker.durable.deliveries import bytes_of, nameless, printable
from worker.durable.gathering import gathering
from worker.durable.json_message import has_too_many_parts
from worker.observe import metrics

Fate = Literal["kept", "refused", "waits"]

log = logging.getLogger("threadsync.worker")

_SECONDS_FOR_EACH_BY_ITSELF: Final = 4.0
"""Time for writing dead letters one by one; below the time limit of a process of the pool."""

_DROPPED: Final = (
    "message dropped: Postgres takes dead letters, and refuses this one, shortened too: %s; "
    "task id %.255r, of %s: %s"
)

_UNKNOWN: Final = "(unknown)"
_PARTS: Final = 3
"""Parts of a body of protocol 2."""
_MOST_READ: Final = 4 * 1024 * 1024
"""Most bytes to parse. A longer body is kept as it came: Python's objects take many times its size."""


def letter_about(message: Message, error: BaseException) -> Letter:
    """Return the dead letter of a message that the main process could not hand to a command."""
    body = bytes_of(message.body)
    payload = _payload(body)
    task_id = message_id(message, payload)
    return Letter(
        task_id=task_id or nameless(message),
        task_name=_part(message, payload, "task") or _UNKNOWN,
        queue=printable((message.delivery_info or {}).get("routing_key")) or _UNKNOWN,
        error=as_ours(error),
        attempts=1,
        arguments=arguments_in(payload),
        body=body,
        answer=task_id,
    )


def message_id(message: Message, payload: Any = None) -> str:
    """Return the task's id; empty if the message has none that could be one."""
    return _part(message, payload, "id")


def arguments_in(payload: Any) -> str | None:
    """Return the arguments as JSON text; None unless the payload is well-formed by Celery's protocols."""
    if isinstance(payload, dict) and "task" in payload:
        args, kwargs = payload.get("args", []), payload.get("kwargs", {})
    elif isinstance(payload, list) and len(payload) == _PARTS:
        args, kwargs, _embed = payload
    else:
        return None
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        return None
    with suppress(ValueError, RecursionError, MemoryError):
        return json.dumps({"args": args, "kwargs": kwargs})
    return None


def _part(message: Message, payload: Any, name: str) -> str:
    """Read a part of the message by name: from the headers, or in protocol 1 from the body."""
    headers = message.headers if isinstance(message.headers, dict) else {}
    return printable(headers.get(name)) or printable(payload.get(name) if isinstance(payload, dict) else None)


def _payload(body: bytes) -> Any:
    if len(body) > _MOST_READ or has_too_many_parts(body):
        return None
    # Read for its name and arguments, if it can be; what it cost the reader is no reason to keep no letter.
    with suppress(ValueError, RecursionError, MemoryError):
        return json.loads(body)
    return None


def bury_all(letters: Sequence[Letter]) -> list[Fate]:
    """Write dead letters in a child, in one transaction or each by itself; return the fate of each."""
    store = DeadLetterStore()
    fates: list[Fate] = ["waits"] * len(letters)
    try:
        store.keep(letters)
        fates = ["kept"] * len(letters)
    except Exception as exc:  # noqa: BLE001
        log.info("dead letters could not be written together: %s", exc)
        if not _is_outage(exc):
            _bury_each(store, letters, fates)
    _tell(letters, fates)
    return fates


def _bury_each(store: DeadLetterStore, letters: Sequence[Letter], fates: list[Fate]) -> None:
    """Write dead letters while time allows, in random order: none must always wait behind failing ones."""
    deadline = monotonic() + _SECONDS_FOR_EACH_BY_ITSELF
    for number in sample(range(len(letters)), len(letters)):
        try:
            fates[number] = _bury(store, letters[number])
        except Exception as exc:  # noqa: BLE001 - all others would wait for the same
            log.warning("dead letters wait to be written: %s", exc)
            return
        if monotonic() > deadline:
            return


def _is_outage(error: Exception) -> bool:
    away = isinstance(error, DatabaseUnavailable) and not isinstance(error, DatabaseFault)
    return away or isinstance(error, SoftTimeLimitExceeded)


def _bury(store: DeadLetterStore, letter: Letter) -> Fate:
    """Write a dead letter, shortened if Postgres refuses it as it is. Raises if Postgres is away."""
    try:
        store.keep([letter])
    except Exception as exc:
        if _is_outage(exc):
            raise
        if not may_be_about_the_content(exc):
            log.warning("a dead letter waits to be written: %s", exc)
            return "waits"
        log.warning("a dead letter is to be written in its shortened form: %s", named(exc))
        return _bury_shortened(store, letter)
    return "kept"


def _bury_shortened(store: DeadLetterStore, letter: Letter) -> Fate:
    try:
        store.keep([letter.shortened()])
    except Exception as exc:
        if _is_outage(exc):
            raise
        if is_about_the_content(exc) and store.takes_letters():
            # Dropped, as it would wait for ever.
            told = map(_redacted, (exc, letter.task_id, letter.task_name, letter.error))
            log.error(_DROPPED, *told)  # noqa: TRY400 - the error is Postgres', and says all
            return "refused"
        log.warning("a dead letter waits to be written: %s", exc)
        return "waits"
    return "kept"


def _redacted(told: object) -> str:
    """Leave forgotten people out of an error's text, which may quote the message."""
    return redaction().text(str(told))


def _tell(letters: Sequence[Letter], fates: Sequence[Fate]) -> None:
    backend: Any = current_app.backend
    with gathering(backend):
        for letter, fate in zip(letters, fates, strict=True):
            if fate == "kept":
                # Whatever name it has: it is none of ours, or it could not be read.
                metrics.message_buried("unreadable")
                log.error("unreadable message is now a dead letter: %s", _redacted(letter.error))
            if letter.answer and fate != "waits":
                backend.mark_as_failure(letter.answer, CommandFailed(str(letter.error)))
