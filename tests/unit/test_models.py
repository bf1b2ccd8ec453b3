"""The DTOs: frozen, tolerant of newer writers, the same after a journey as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final
from uuid import UUID

import pytest
from celery.utils.saferepr import saferepr
from kombu.serialization import dumps
from pydantic import ValidationError

from threadsync.channels import ChannelContext, ContextResult
from threadsync.dto import Dto
from threadsync.sessions import SessionPage, SessionResult, ThreadSession
from worker.durable.task_result import Answer

SESSION: Final[dict[str, Any]] = {
    "id": UUID("01900000-0000-7000-8000-000000000001"),
    "channel_id": "C0123ABCD",
    "thread_ts": "1700000000.000100",
    "user_id": "U0456",
    "status": "synced",
    "jira_key": "PROJ-1",
    "created_at": datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
    "updated_at": datetime(2026, 1, 2, 5, 4, 5, tzinfo=timezone(timedelta(hours=2))),
}
CONTEXT: Final[dict[str, Any]] = {
    "channel_id": "C0123ABCD",
    "context_data": {"a": [1, {"b": None}]},
    "version": 3,
    "updated_at": datetime(2026, 1, 2, tzinfo=UTC),
}


@pytest.mark.parametrize(
    "dto",
    [
        ThreadSession(**SESSION),
        SessionResult(**SESSION, outcome="applied"),
        SessionPage(sessions=(ThreadSession(**SESSION),), next_cursor="01900000-0000-7000-8000-000000000001"),
        ChannelContext(**CONTEXT),
        ContextResult(**CONTEXT, outcome="created"),
    ],
    ids=lambda dto: type(dto).__name__,
)
def test_a_result_is_the_same_after_its_journey(dto: Any) -> None:
    """A result is the same after its journey as JSON, with microseconds and time zones."""
    assert type(dto).model_validate(dto.model_dump(mode="json")) == dto
    assert type(dto).model_validate_json(dto.model_dump_json()) == dto


def test_a_session_result_is_flat() -> None:
    """A session result has the fields of `ThreadSession` and one more, as stock Celery clients expect."""
    result = SessionResult(**SESSION, outcome="stale").model_dump(mode="json")
    assert list(result) == [*SESSION, "outcome"]
    assert result["thread_ts"] == "1700000000.000100"
    assert result["created_at"] == "2026-01-02T03:04:05.678901Z"


def test_fields_of_a_newer_worker_are_ignored() -> None:
    """Unknown fields of a newer worker are ignored, so web and worker may be upgraded in any order."""
    assert ThreadSession(**SESSION, sync_state="pending") == ThreadSession(**SESSION)


@pytest.mark.parametrize(
    ("dto", "line"),
    [
        (ThreadSession(**SESSION), "C0123ABCD / 1700000000.000100 → synced as PROJ-1"),
        (
            SessionResult(**{**SESSION, "status": "collecting", "jira_key": None}, outcome="created"),
            "C0123ABCD / 1700000000.000100 → collecting: created",
        ),
        (SessionPage(sessions=(ThreadSession(**SESSION),), next_cursor="x"), "sessions: 1, and more"),
        (ContextResult(**CONTEXT, outcome="applied"), "C0123ABCD → context version 3: applied"),
    ],
)
def test_flower_gets_one_line_of_a_result(dto: Dto, line: str) -> None:
    """Flower shows one line of a result, while the stored result is complete."""
    answer = Answer(dto)
    assert saferepr(answer, 1024) == line
    assert json.loads(dumps(answer, serializer="json")[2]) == dto.model_dump(mode="json") == answer


def test_a_dto_cannot_be_changed() -> None:
    """A DTO cannot be changed."""
    with pytest.raises(ValidationError, match="frozen"):
        ThreadSession(**SESSION).status = "collecting"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("thread_ts", 1700000000.0001),
        ("thread_ts", "1700000000"),
        ("channel_id", ""),
        ("channel_id", "C" * 65),
        ("user_id", None),
        ("status", "done"),
        ("jira_key", "proj-1"),
        ("created_at", datetime(2026, 1, 2)),
    ],
)
def test_a_wrong_value_is_refused(field: str, value: object) -> None:
    """A wrong value is refused with the field's name; a time needs its zone."""
    with pytest.raises(ValidationError, match=field):
        ThreadSession(**{**SESSION, field: value})
