"""Steps that follow a ticket: the permalink of its thread, the thread's text and its files."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from threadsync.dto import Dto

TicketStepKind = Literal["link", "plan", "file", "attachment", "thread"]


class TicketStep(Dto):
    """A step that follows a ticket: the thread's permalink, its text or a file.

    ``given_up`` is a code for why it was not carried out; ``file_id`` is Slack's. ``include`` is what of the
    thread goes to the ticket: ``link | text | files``. ``fields`` are names of Jira's fields.
    """

    jira_key: str
    step: TicketStepKind
    file_id: str
    include: str | None
    begun_at: AwareDatetime
    next_attempt_at: AwareDatetime | None
    failures: int
    done_at: AwareDatetime | None
    given_up: str | None
    http_status: int | None
    fields: tuple[str, ...]

    @property
    def name(self) -> str:
        """The step in words."""
        names = {
            "link": "permalink of the thread",
            "plan": "settings of the channel",
            "attachment": "attachment with the whole thread",
            "thread": "comment with the thread",
        }
        return names.get(self.step) or f"file {self.file_id}"

    @property
    def state(self) -> str:
        """The state in words."""
        if self.given_up:
            return f"given up: {self.given_up.replace('_', ' ')}"
        if self.done_at:
            return "done"
        return "waiting" if self.failures == 0 else f"waiting after {self.failures} failures"

    @property
    def said(self) -> str | None:
        """Jira's last refusal: its status, and the fields that it named."""
        if self.http_status is None:
            return None
        return f"HTTP {self.http_status}{': ' if self.fields else ''}{', '.join(self.fields)}"

    def summary(self) -> str:
        return f"{self.jira_key} {self.name}: {self.state}"
