"""Dead letters: messages that the worker gave up."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict

from threadsync.dto import Dto

DeadLetterState = Literal["dead", "retried", "discarded"]


class DeadLetter(Dto):
    """A message that the worker gave up, with all that is needed to run it by hand.

    ``arguments`` is the JSON text ``{"args": […], "kwargs": {…}}`` exactly as it came, or None when the
    message could not be read; then ``body`` has its bytes. ``state`` is ``dead``, ``retried`` or
    ``discarded``; ``actor`` settled it, for ``reason``.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="base64", val_json_bytes="base64")

    id: UUID
    task_id: str
    task_name: str
    queue: str
    arguments: str | None
    body: bytes | None
    error_type: str
    error: str
    attempts: int
    first_attempt_at: datetime | None
    died_at: AwareDatetime
    state: DeadLetterState
    settled_at: datetime | None
    actor: str | None
    reason: str | None

    def summary(self) -> str:
        return f"{self.task_name} {self.task_id}: {self.error_type}, {self.state}"
