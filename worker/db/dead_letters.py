"""Dead letters and redelivery counts: what keeps a poison message from looping, and a failed one from being lost."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import psycopg
from pydantic import TypeAdapter, ValidationError

from worker.db import queries
from worker.db.driver_errors import translated
from worker.db.models import DeadLetter
from worker.db.pool import Pool, init_db
from worker.errors import DeadLetterNotFound

_AFTER_ALL_IDS = UUID(int=2**128 - 1)


class DeadLetterStore:
    """Dead letters in Postgres. Every method raises ``DatabaseUnavailable`` when Postgres is away."""

    def __init__(self, pool: Pool | None = None) -> None:
        self._pool = pool

    def count_redelivery(self, task_id: str, task_name: str) -> int:
        """Note that a message came back; returns how often it has been delivered, the first time included."""
        row = self._rows(queries.COUNT_REDELIVERY, {"task_id": task_id, "task_name": task_name})[0]
        return int(row["deliveries"])

    def forget_redeliveries(self, task_id: str) -> None:
        """The message ended: its count is of no more use."""
        with translated(), (self._pool or init_db()).connection() as connection:
            connection.execute(queries.FORGET_REDELIVERIES, {"task_id": task_id})

    def bury(
        self,
        *,
        task_id: str,
        task_name: str,
        queue: str,
        error: BaseException,
        attempts: int,
        arguments: str | None = None,
        body: bytes | None = None,
        first_attempt_at: object = None,
    ) -> DeadLetter:
        """Keep a message with its arguments (JSON text), or its bytes when it could not be read. Repeatable."""
        params = {
            "task_id": task_id,
            "task_name": task_name,
            "queue": queue,
            "arguments": arguments,
            "body": body,
            "error_type": type(error).__name__,
            "error": _printable(str(error)),
            "attempts": attempts,
            "first_attempt_at": first_attempt_at,
        }
        return DeadLetter.model_validate(self._rows(queries.BURY, params)[0])

    def list(
        self, state: Literal["dead", "retried", "discarded"] = "dead", limit: int = 50, before: UUID | None = None
    ) -> list[DeadLetter]:
        """Dead letters in one state, newest first, from before the id ``before``."""
        params = {"state": state, "limit": limit, "before": before or _AFTER_ALL_IDS}
        return [DeadLetter.model_validate(row) for row in self._rows(queries.LIST_DEAD_LETTERS, params)]

    def get(self, dead_letter_id: str) -> DeadLetter:
        """One dead letter. Raises ``DeadLetterNotFound``."""
        rows = self._rows(queries.GET_DEAD_LETTER, {"dead_letter_id": _id(dead_letter_id)})
        if not rows:
            raise DeadLetterNotFound(f"no dead letter {dead_letter_id}; see: threadsync dead list")
        return DeadLetter.model_validate(rows[0])

    def settle(
        self, dead_letter_id: str, state: Literal["retried", "discarded"], *, actor: str, reason: str
    ) -> DeadLetter:
        """Record who settled it, and why. Raises ``DeadLetterNotFound`` when it is not open."""
        params = {"dead_letter_id": _id(dead_letter_id), "state": state, "actor": actor, "reason": reason}
        rows = self._rows(queries.SETTLE_DEAD_LETTER, params)
        if not rows:
            letter = self.get(dead_letter_id)
            raise DeadLetterNotFound(f"dead letter {letter.id} was already {letter.state} by {letter.actor}")
        return DeadLetter.model_validate(rows[0])

    def _rows(self, sql: str, params: dict[str, object]) -> list[psycopg.rows.DictRow]:
        with translated(), (self._pool or init_db()).connection() as connection:
            return connection.execute(psycopg.sql.SQL(sql), params).fetchall()  # type: ignore[arg-type]


def _id(text: str) -> UUID:
    try:
        return TypeAdapter(UUID).validate_python(text)
    except ValidationError:
        raise DeadLetterNotFound(f"{text!r} is not the id of a dead letter; see: threadsync dead list") from None


def _printable(text: str) -> str:
    """Postgres' text takes neither NUL nor half a surrogate pair."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")[:10_000]
