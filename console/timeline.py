"""The history of a session, in order. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from threadsync.actors import AnyActor
from threadsync.reasons import explain
from threadsync.sessions import ThreadSession
from threadsync.syncs import Attempt, SyncAction, SyncDetail
from worker.db.overview.store import SessionActors

_STEPS: Final = {
    "search": "Searched for an existing ticket",
    "create": "Asked Jira to create a ticket",
    "look": "Checked whether the ticket was created",
    "link_back": "Linked the ticket back to the thread",
    "audit": "Checked for a second ticket",
}
_LONGEST_MOMENT: Final = 40
_ACTIONS: Final = {
    "retry": "Retry",
    "link": "Link to a ticket",
    "unlink": "Unlink the ticket",
    "give_up": "Give up",
}


@dataclass(frozen=True)
class Event:
    """One entry. ``by`` is its actor, or only a person's Slack id; ``detail`` is Jira's own message."""

    at: datetime
    kind: Literal["command", "attempt", "decision"]
    what: str
    outcome: str = ""
    why: str = ""
    detail: str = ""
    by: AnyActor | str | None = None


def timeline(
    session: ThreadSession,
    ready_at: datetime | None,
    synced_at: datetime | None,
    detail: SyncDetail | None,
    decisions: Iterable[SyncAction] | None = None,
    actors: SessionActors | None = None,
) -> list[Event]:
    """List a session's events, oldest first. Commands that changed nothing have left no trace.

    Args:
        decisions: of a session without a sync; else those of ``detail``.
    """
    actors = actors or SessionActors()
    opened_by = actors.opened_by or session.user_id
    events = [Event(session.created_at, "command", "Session opened", by=opened_by)]
    if ready_at:
        events.append(Event(ready_at, "command", "Ready to sync", by=actors.ready_by))
    if synced_at:
        outcome = session.jira_key or ""
        events.append(Event(synced_at, "command", "Synced", outcome=outcome, by=actors.synced_by))
    if detail:
        why = "latest draft" if actors.drafted_by else ""
        asked = Event(detail.sync.requested_at, "command", "Ticket requested", why=why, by=actors.drafted_by)
        events += [asked, *_drafted(detail.drafted_at, asked.at)]
        events += map(_tried, detail.attempts)
    events += map(_decided, detail.actions if detail else decisions or ())
    return sorted(events, key=lambda event: event.at)


def _drafted(drafted_at: str, asked_at: datetime) -> Iterator[Event]:
    """Yield when the draft was written, if that was after the ticket was requested."""
    try:
        at = datetime.fromtimestamp(float(drafted_at), UTC)
    except (ValueError, OverflowError, OSError):
        # Stored before such timestamps were refused: in milliseconds, for example.
        what = "Draft written at an invalid time"
        yield Event(asked_at, "command", what, why=drafted_at[:_LONGEST_MOMENT])
        return
    if at > asked_at:
        yield Event(at, "command", "Newer draft written")


def _tried(attempt: Attempt) -> Event:
    told = [f"HTTP {attempt.http_status}" if attempt.http_status else "", explain(attempt.reason)]
    return Event(
        attempt.started_at,
        "attempt",
        _STEPS.get(attempt.step, str(attempt.step)),
        outcome=attempt.outcome or "in progress",
        why="; ".join(filter(None, told)),
        detail=attempt.detail or "",
    )


def _decided(action: SyncAction) -> Event:
    known = _ACTIONS.get(action.action, str(action.action))
    what = " ".join(filter(None, (known, action.jira_key)))
    # Of before 0.2 there is a bare name, which may be a claim and is no Slack id to look up.
    by = action.acted_by
    return Event(action.at, "decision", what, outcome="" if by else action.actor, why=action.reason, by=by)
