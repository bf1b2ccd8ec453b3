"""Sessions of Slack threads, as rows and results have them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import AwareDatetime, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from threadsync.dto import Dto
from threadsync.types import JiraKey, Outcome, SlackId, SlackTs, Status


class ThreadSession(Dto):
    """The session of one Slack thread. Unique on ``(channel_id, thread_ts)``; times are aware, in UTC."""

    id: UUID
    channel_id: SlackId
    thread_ts: SlackTs
    user_id: SlackId
    status: Status
    jira_key: JiraKey | None
    created_at: AwareDatetime
    updated_at: AwareDatetime

    def summary(self) -> str:
        state = f"{self.status} as {self.jira_key}" if self.jira_key else self.status
        return f"{self.channel_id} / {self.thread_ts} → {state}"


_A_STATUS: Final = re.compile(r"[a-z][a-z_]{0,49}", re.ASCII)


def _of_another_release(value: Any, read: ValidatorFunctionWrapHandler) -> ThreadSession:
    """Accept a session of which only the status is unknown here: a newer worker may have more of them."""
    try:
        session: ThreadSession = read(value)
    except ValidationError as exc:
        bad = {error["loc"] for error in exc.errors(include_input=False)}
        if bad != {("status",)} or not _A_STATUS.fullmatch(str(value["status"])):
            raise
        return ThreadSession.of_row(value)
    return session


StoredSession = Annotated[ThreadSession, WrapValidator(_of_another_release)]
"""A session in a result; its status may be one of a newer release."""


class SessionResult(ThreadSession):
    """A session after a command, and the command's ``outcome``.

    ``created | applied | unchanged | stale``, or ``refused``: this person may not act in the channel. Then
    the session is as it was; where there is none, ``id`` is the nil UUID, which no session has.
    """

    outcome: Outcome

    def summary(self) -> str:
        return f"{super().summary()}: {self.outcome}"


class SessionPage(Dto):
    """Sessions of a channel, newest first. ``next_cursor`` is None on the last page."""

    sessions: tuple[StoredSession, ...]
    next_cursor: str | None

    def summary(self) -> str:
        return f"sessions: {len(self.sessions)}{', and more' if self.next_cursor else ''}"
