"""Redact a task's arguments before they reach events (Flower), logs or `celery inspect`.

A stock Celery client puts all of them into the headers ``argsrepr`` and ``kwargsrepr``, a draft's text too.
So only a line that names a thread and no person is shown. What is shown nowhere need not be removed from
Flower's memory, its state or the logs when a person is to be forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from threadsync import errors
from threadsync.errors import CommandFailed, ThreadsyncError

NOT_SHOWN: Final = "(not shown)"

_NOTHING: Final = frozenset({"()", "{}", NOT_SHOWN})
_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_PLACE: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.:-]{{0,63}}(?: / [0-9]{{1,16}}\.[0-9]{{1,9}})?|{_UUID}")
_ENDS: Final = r"collecting|ready_to_sync|synced|synced as [A-Z][A-Z0-9_]{0,49}-[1-9][0-9]{0,12}|a ticket"
_END: Final = re.compile(rf"(?: → (?:{_ENDS}))?")
# Where the arguments are not at hand: a channel's id, and no person's, which begins with U or W.
_LINE: Final = re.compile(
    rf"(?:[CDG][A-Za-z0-9]{{1,63}}(?: / [0-9]{{1,16}}\.[0-9]{{1,9}})?|{_UUID})"
    rf"(?: → (?:{_ENDS}|[CDG][A-Z0-9]+))?"
)
_SAFE_ERRORS: Final = frozenset(
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, ThreadsyncError) and kind is not CommandFailed
) | {"WorkerLostError", "TimeLimitExceeded", "SoftTimeLimitExceeded", "Terminated"}
"""Errors whose messages name threads, keys and faults, and no value; ``CommandFailed`` quotes others."""

_OUR_TASKS: Final = "tasks."


def shown(command: Any, args: Any, kwargs: Any, argsrepr: object, kwargsrepr: object) -> tuple[str, str]:
    """Return the headers ``argsrepr`` and ``kwargsrepr`` as they may be shown.

    A line that the sender wrote in place of the arguments stays if it is what ``Command.summary()`` makes of
    them: our clients send that, and to look is quicker than to make it again. Otherwise a command is shown by
    its summary. Arguments that cannot be parsed are not shown, and neither are those of a task that is no
    command, such as a plain ``@app.task``: what they hold is not known.

    Args:
        command: the class of the command that the task runs, or None.
        argsrepr: what the message has as a header, if anything.
    """
    return (
        NOT_SHOWN if args else "()",
        str(kwargsrepr) if _is_line_of(kwargs, kwargsrepr) else _shown_kwargs(command, args, kwargs),
    )


def shown_unseen(args: Any, kwargs: Any) -> tuple[str, str]:
    """Return both headers for a task whose sender gives none."""
    return (NOT_SHOWN if args else "()", NOT_SHOWN if kwargs else "{}")


def shown_of_an_end(task: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a task's final event without text that people may have written."""
    told = dict(fields)
    if "result" in told and not _is_ours(task):
        told["result"] = NOT_SHOWN
    if "exception" in told:
        name = str(told["exception"]).partition("(")[0]
        if name not in _SAFE_ERRORS:
            told["exception"] = f"{name if name.isidentifier() else 'Exception'}('{NOT_SHOWN}')"
            told["traceback"] = NOT_SHOWN
    return told


def shown_by_flower(event: Mapping[str, Any]) -> dict[str, Any]:
    """Redact an event of any sender; a stock client's events hold all arguments."""
    told = dict(event)
    for name in ("args", "kwargs"):
        text = told.get(name)
        if text is not None and not (isinstance(text, str) and (text in _NOTHING or _LINE.fullmatch(text))):
            told[name] = NOT_SHOWN
    return told


def _is_line_of(kwargs: Any, text: object) -> bool:
    """Return True for a line that names these arguments' thread or session, and nothing else."""
    if not isinstance(kwargs, dict) or not isinstance(text, str):
        return False
    place = kwargs.get("channel_id") or kwargs.get("session_id")
    thread = kwargs.get("thread_ts")
    beginning = f"{place} / {thread}" if thread else str(place)
    if not text.startswith(beginning) or not _PLACE.fullmatch(beginning):
        return False
    end = text[len(beginning) :]
    return _END.fullmatch(end) is not None


def _shown_kwargs(command: Any, args: Any, kwargs: Any) -> str:
    if not kwargs:
        return "{}"
    # Whatever is wrong with it, its task says so; here it is only not shown.
    with suppress(Exception):
        return str(command.from_message(args, kwargs).summary())
    return NOT_SHOWN


def _is_ours(task: Any) -> bool:
    return str(getattr(task, "__module__", "")).startswith(_OUR_TASKS)
