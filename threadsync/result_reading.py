"""Read results from the result backend, trusting nothing that is stored there.

Any program that may write to the backend can write there. Errors of ours pass with their class and arguments;
of other errors only the name does, because their text may hold what people wrote. Anything else is an
``UnreadableResult``, which quotes nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from threadsync import errors
from threadsync.errors import (
    CommandFailed,
    JiraKeyConflict,
    PoisonCommand,
    SessionNotFound,
    ThreadsyncError,
    UnreadableResult,
)
from threadsync.types import JiraKey, SlackId, SlackTs, describe

_LONGEST_TEXT: Final = 2_000
_LONGEST_FAULTS: Final = 500
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}", re.ASCII)
_MODULES: Final = frozenset({errors.__name__, "worker.errors"})
"""Modules of our errors, today and in 0.1.0."""

_CLASSES: Final[Mapping[str, type[ThreadsyncError]]] = {
    name: item
    for name, item in vars(errors).items()
    if isinstance(item, type) and issubclass(item, ThreadsyncError)
}
_TEXT: Final = TypeAdapter(tuple[str])
_ARGUMENTS: Final[Mapping[type[ThreadsyncError], TypeAdapter[Any]]] = {
    SessionNotFound: TypeAdapter(tuple[SlackId, SlackTs]),
    JiraKeyConflict: TypeAdapter(tuple[SlackId, SlackTs, JiraKey, JiraKey]),
    PoisonCommand: TypeAdapter(tuple[str, int]),
}


def read_meta(meta: Any) -> tuple[bool, Any]:
    """Return True and the result if it is there. Raises what the worker raised, or ``UnreadableResult``.

    Args:
        meta: as Celery's backends give it, with ``error_of`` in place of their way to read an error.
    """
    status = meta.get("status") if isinstance(meta, Mapping) else None
    if not isinstance(status, str):
        raise UnreadableResult("what stands in the result backend is no result of Celery's")
    if status == "REVOKED":
        raise CommandFailed("the command was revoked")
    if status == "FAILURE":
        raise error_of(meta.get("result"))
    return status == "SUCCESS", meta.get("result")


def error_of(told: Any) -> ThreadsyncError:
    """Return the error that a stored failure stands for."""
    if isinstance(told, BaseException):
        # From a backend that keeps objects, or read by this function before.
        told = {
            "exc_type": type(told).__name__,
            "exc_module": type(told).__module__,
            "exc_message": told.args,
        }
    if not isinstance(told, Mapping):
        return UnreadableResult("the command failed, and what stands there in place of its error is none")
    name, arguments = told.get("exc_type"), told.get("exc_message")
    if isinstance(name, str) and name in _CLASSES and _is_of_ours(told.get("exc_module")):
        return _of_ours(_CLASSES[name], arguments)
    shown = name if isinstance(name, str) and _NAME.fullmatch(name) else "an error without a name"
    return CommandFailed(f"the worker failed with {shown}")


def typed(result: TypeAdapter[Any], value: Any, command: str) -> Any:
    """Return a result as its DTO. Raises ``UnreadableResult``."""
    return readably(lambda: result.validate_python(value), f"the result of {command}")


def readably(read: Callable[[], Any], what: str) -> Any:
    """Return what ``read`` returns. Raises ``UnreadableResult`` if it fails, quoting nothing."""
    try:
        return read()
    except ThreadsyncError:
        raise
    except ValidationError as exc:
        raise UnreadableResult(f"{what} is none: {describe(exc)[:_LONGEST_FAULTS]}") from None
    # A decoder's error may be of any class, and quote its input: hence no cause.
    except Exception as exc:  # noqa: BLE001
        raise UnreadableResult(f"{what} cannot be read: {type(exc).__name__}") from None


def _is_of_ours(module: object) -> bool:
    return isinstance(module, str) and module in _MODULES


def _of_ours(kind: type[ThreadsyncError], arguments: Any) -> ThreadsyncError:
    try:
        given = _ARGUMENTS.get(kind, _TEXT).validate_python(arguments)
    except ValidationError:
        return CommandFailed(f"the worker failed with {kind.__name__}; what else it said cannot be read")
    return kind(*(item[:_LONGEST_TEXT] if isinstance(item, str) else item for item in given))
