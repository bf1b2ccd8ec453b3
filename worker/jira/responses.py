"""Read Jira's responses: classified, and as values."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any, TypeVar

from worker.http_once import HttpResponse, Unknown
from worker.jira import classification, parsing
from worker.jira.answers import CallFailed, CreateAnswer, Created, Failure, Rejected

T = TypeVar("T")


def content_of(answer: HttpResponse, request: str) -> dict[str, Any]:
    """Return the JSON of a successful response. Raises `CallFailed`."""
    failed, content = failure_of(answer), _object(answer)
    if failed is None and content is not None:
        return content
    why = f"Jira answered {answer.status}, but not in readable JSON"
    unclear = Unknown(why, answer.status, classification.trace_id(answer.headers))
    raise CallFailed(failed or unclear, request)


def creation_of(answer: HttpResponse, sent: Collection[str] = ()) -> CreateAnswer:
    """Classify the response to the POST that creates a ticket with these fields."""
    return classification.creation(answer.status, answer.headers, answer.content, datetime.now(UTC), sent)


def label_of(became: CreateAnswer | Failure | None) -> str:
    """Return the label of the outcome in the request metrics."""
    return "ok" if became is None or isinstance(became, Created) else type(became).__name__


def failure_of(answer: HttpResponse) -> Failure | None:
    """Classify the response to any other call; None when it succeeded."""
    return classification.failure(answer.status, answer.headers, answer.content, datetime.now(UTC))


def _object(answer: HttpResponse) -> dict[str, Any] | None:
    return classification.json_object(answer.content)


def is_gone(failed: Failure | None, answer: HttpResponse) -> bool:
    """Tell a 404 of Jira itself from one of something in front of Jira, which has no JSON."""
    return isinstance(failed, Rejected) and failed.status == 404 and _object(answer) is not None


def read(reader: Callable[[Any], T], content: Any) -> T:
    """Read JSON. Raises `CallFailed` where it is not as documented."""
    try:
        return reader(content)
    except parsing.Unreadable as exc:
        raise CallFailed(Unknown(f"Jira's answer is not as documented: {exc}")) from exc
