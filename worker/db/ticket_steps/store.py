"""Steps that follow a ticket, in Postgres: claim one, write how it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from threadsync.actors import StoredActor
from threadsync.ticket_steps import TicketStep, TicketStepKind
from threadsync.types import JiraKey, SlackId, SlackTs, describe
from worker.db.store import Store
from worker.db.ticket_steps import sql as queries

log = structlog.get_logger("threadsync.worker")


@dataclass(frozen=True, slots=True)
class StepKey:
    """The key of a step. ``jira_id`` is the ticket's id, or its key; ``file_id`` is empty but for files."""

    session_id: UUID
    jira_id: str
    step: TicketStepKind
    file_id: str = ""


class StepClaim(BaseModel):
    """Claim of a step; each write under it names its ``fence``. ``now`` is the database's clock.

    ``write_deadline`` is that of a write of which it is not known whether it was made. ``drafted_at`` is the
    moment of the request. ``links_since`` is when the last other write of the ticket's link was over, and
    ``done_at`` when a link was put that is to be put once more. ``requested_by`` is who asked for the ticket;
    None where a person linked it. ``context`` is the channel's, for a plan.
    ``unfinished`` are the files (and the attachment, as an empty text) that a comment waits for; ``files``
    has the state of each file as ``id=copied``, ``id=pending`` or ``id=reason``; ``attachment`` is the state
    of the attachment that has the whole thread.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    session_id: UUID
    jira_id: str
    step: TicketStepKind
    file_id: str
    jira_key: JiraKey
    site: str | None
    include: str | None
    begun_at: AwareDatetime
    fence: int
    failures: int
    write_deadline: AwareDatetime | None
    now: AwareDatetime
    channel_id: SlackId
    thread_ts: SlackTs
    newest_channel_id: SlackId | None
    marker: str | None
    drafted_at: str | None
    lacks_link_back: bool | None
    links_since: AwareDatetime
    done_at: AwareDatetime | None
    requested_by: StoredActor = None
    is_forgotten: bool
    context: dict[str, Any] | None
    unfinished: tuple[str, ...]
    files: tuple[str, ...]
    attachment: str | None

    @property
    def slack_channel(self) -> str:
        """The channel's id in Slack by now."""
        return self.newest_channel_id or self.channel_id


@dataclass(frozen=True, slots=True)
class NewStep:
    """A step that a plan begins; with a ``given_up`` it is over at once."""

    step: TicketStepKind
    file_id: str = ""
    given_up: str | None = None


class TicketStepStore(Store):
    """Store of the steps; each method is one statement. With a lost claim it returns False."""

    def of(self, session_id: UUID) -> tuple[TicketStep, ...]:
        """Return the steps of a session's tickets, in their order."""
        rows = self._rows(queries.LIST_STEPS, {"session_id": session_id})
        return tuple(map(TicketStep.of_row, rows))

    def claim(self, key: StepKey, *, lease: float) -> StepClaim | None:
        """Claim a step for ``lease`` seconds; None if it is not due, or another process has it.

        None also for one that cannot be read, as another release may have written it.
        """
        rows = self._rows(queries.CLAIM, {**_key(key), "lease": lease})
        try:
            return StepClaim.model_validate(rows[0]) if rows else None
        except ValidationError as exc:
            log.warning(
                "step of a ticket cannot be read", session_id=str(key.session_id), faults=describe(exc)
            )
            return None

    def begin_write(self, claim: StepClaim, deadline: float) -> bool:
        """Commit to a write before it is sent; it may be made until ``deadline`` seconds from now.

        False also if the thread was forgotten meanwhile.
        """
        return self._write(queries.BEGIN_WRITE, claim, deadline=deadline)

    def release(
        self,
        claim: StepClaim,
        delay: float,
        *,
        failures: int,
        is_in_doubt: bool = False,
        is_done: bool = False,
        http_status: int | None = None,
        fields: Sequence[str] = (),
    ) -> bool:
        """Release a step; it is due again after ``delay`` seconds. ``is_done``: it was carried out."""
        return self._write(
            queries.RELEASE,
            claim,
            delay=delay,
            failures=failures,
            is_in_doubt=is_in_doubt,
            is_done=is_done,
            http_status=http_status,
            fields=list(fields),
        )

    def end(
        self,
        claim: StepClaim,
        given_up: str | None = None,
        *,
        http_status: int | None = None,
        fields: Sequence[str] = (),
    ) -> bool:
        """End a step: carried out, or given up for a reason."""
        return self._write(
            queries.END, claim, given_up=given_up, http_status=http_status, fields=list(fields)
        )

    def plan(self, claim: StepClaim, include: str, steps: Sequence[NewStep]) -> bool:
        """End a plan, and begin the steps that it names, in one transaction; False if it begins none."""
        return self._write(
            queries.PLAN,
            claim,
            include=include,
            steps=[new.step for new in steps],
            file_ids=[new.file_id for new in steps],
            reasons=[new.given_up or "" for new in steps],
        )

    def need_attachment(self, claim: StepClaim, delay: float) -> None:
        """Begin the attachment with the whole thread, and release the comment, which waits for it."""
        self._write(queries.NEED_ATTACHMENT, claim, delay=delay)

    def take_due(self, *, most: int, for_seconds: float) -> list[StepKey]:
        """Take due steps, oldest first; no other caller gets them for ``for_seconds``."""
        rows = self._rows(queries.TAKE_DUE, {"most": most, "for_seconds": for_seconds})
        return [StepKey(row["session_id"], row["jira_id"], row["step"], row["file_id"]) for row in rows]

    def _write(self, statement: LiteralString, claim: StepClaim, **values: Any) -> bool:
        key = StepKey(claim.session_id, claim.jira_id, claim.step, claim.file_id)
        params: Mapping[str, Any] = {**_key(key), "fence": claim.fence, **values}
        return bool(self._rows(statement, params))


def _key(key: StepKey) -> dict[str, Any]:
    return {"session_id": key.session_id, "jira_id": key.jira_id, "step": key.step, "file_id": key.file_id}
