"""Text of a sync's status message. Pure. It quotes nothing that a person wrote: see ``SyncState``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, assert_never

from threadsync.channel_settings.resolution import describe as describe_made_with
from threadsync.marker import url_of
from threadsync.reasons import explain
from threadsync.syncs import SyncState
from worker.status_message.message import StatusMessage
from worker.text.slack_names import FIX_BUTTON, RETRY_BUTTON
from worker.text.slack_text import escape

_LASTING: Final = frozenset({"blocked", "failed", "review", "done"})
_OF_THE_DRAFT: Final = frozenset({"draft_refused", "draft_unreadable", "draft_expired"})
_OF_THE_FIELDS: Final = frozenset({"set_up", "not_found", "no_project"})
_FIX: Final = "_Fix_ opens the form with the draft, and what Jira says of its fields."


def describe(sync: SyncState, jira_url: str | None) -> StatusMessage:
    """Write the message. Tickets are links where ``jira_url`` is known."""
    text = _text(sync, jira_url) + _made_with(sync)
    blocks: list[dict[str, Any]] = [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]
    buttons = [
        *([_button(FIX_BUTTON, "Fix …", sync)] if can_be_fixed(sync) else ()),
        *([_button(RETRY_BUTTON, "Retry", sync)] if can_be_retried(sync) else ()),
    ]
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    return StatusMessage(text, tuple(blocks), lasts=sync.state in _LASTING)


def can_be_retried(sync: SyncState) -> bool:
    """Return True if another attempt may help; after a refused draft none does, as it is the same."""
    if sync.state == "failed":
        return sync.reason not in ("draft_refused", "draft_unreadable", "moved", "unlinked")
    return sync.state in ("blocked", "review")


def can_be_fixed(sync: SyncState) -> bool:
    """Return True if another draft may help: for what Jira refused, and for what a draft can name."""
    if sync.parked or "state" in sync.unreadable:
        return False
    return (sync.state == "failed" and sync.reason in _OF_THE_DRAFT) or (
        sync.state == "blocked" and sync.reason in _OF_THE_FIELDS
    )


def _text(sync: SyncState, jira_url: str | None) -> str:
    return f"{_state(sync, jira_url)} {_FIX}" if can_be_fixed(sync) else _state(sync, jira_url)


def _state(sync: SyncState, jira_url: str | None) -> str:
    why = escape(explain(sync.reason))
    if "state" in sync.unreadable:
        return "*Needs attention:* another release wrote the state of this ticket, and it cannot be read."
    match sync.state:
        case "pending":
            return (
                f"*Queued.* {why[:1].upper() + why[1:] if why else 'The Jira ticket will be created next.'}"
            )
        case "inflight":
            return "*Creating the Jira ticket.*"
        case "retry_wait":
            return f"*Not created yet.* Next attempt{_at(sync.next_attempt_at)}, because {why}"
        case "unknown":
            return f"*Confirming with Jira.* Next look{_at(sync.next_attempt_at)}, because {why}"
        case "failed" if sync.reason in ("draft_refused", "draft_unreadable"):
            return f"*Needs another draft:* {why}"
        case "failed" if sync.reason == "moved":
            return f"*Followed elsewhere:* {why}"
        case "failed" if sync.reason in ("given_up", "unlinked"):
            return f"*No ticket:* {why}"
        case "blocked" | "failed" | "review":
            has = f" The thread has {_ticket(sync.jira_key, _site(sync, jira_url))}." if sync.jira_key else ""
            return f"*Needs attention:* {why}{has}"
        case "done":
            return _done(sync, jira_url)
        case _:
            assert_never(sync.state)


def _made_with(sync: SyncState) -> str:
    """Say what the ticket was made with, or was to be; of one that a person named nothing is known."""
    if sync.made_with is None or sync.unreadable or sync.origin == "named":
        return ""
    is_over = sync.state == "failed" and sync.reason != "draft_refused"
    if sync.state not in _LASTING or is_over:
        return ""
    verb = "Made" if sync.state == "done" else "Tried"
    return f" {verb} with {escape(describe_made_with(sync.made_with))}."


def _done(sync: SyncState, jira_url: str | None) -> str:
    url = _site(sync, jira_url)
    ticket = _ticket(sync.jira_key, url)
    match sync.origin:
        case "found":
            text = f"*Linked* to {ticket}, which was already in Jira with this thread's marker."
        case "named":
            text = f"*Linked* to {ticket}, which a person named for this thread."
        case _:
            text = f"*Created* {ticket}."
    if sync.duplicates:
        others = ", ".join(_ticket(key, url) for key in sync.duplicates)
        text += f" *Needs attention:* {others} also carry this thread's marker. Close those you don't need."
    return text


def _site(sync: SyncState, jira_url: str | None) -> str:
    """Return the address of the Jira that made the tickets, whichever the settings name now."""
    return url_of(sync.site, jira_url)


def _ticket(key: str | None, url: str) -> str:
    if key is None:
        return "its ticket"
    shown = escape(key)
    return f"<{escape(url)}/browse/{shown}|{shown}>" if url else f"*{shown}*"


def _at(moment: datetime | None) -> str:
    """Show a moment in each reader's time zone: https://docs.slack.dev/messaging/formatting-message-text#date-formatting."""
    if moment is None:
        return ""
    return f" at <!date^{int(moment.timestamp())}^{{time}}|{moment.astimezone(UTC):%H:%M} UTC>"


def _button(action_id: str, label: str, sync: SyncState) -> dict[str, Any]:
    return {
        "type": "button",
        "action_id": action_id,
        "text": {"type": "plain_text", "text": label},
        "value": str(sync.session_id),
    }
