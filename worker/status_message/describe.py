"""How a sync stands, in words for its thread. Pure. Nothing that somebody wrote is in it: see ``SyncState``.

| state | what the thread reads |
|---|---|
| `pending`, `inflight` | queued, creating |
| `retry_wait` | not created yet, the next try, why |
| `unknown` | confirming with Jira, the next look, why |
| `blocked`, `review`, `failed` | needs a person, and why; a button, unless another draft is needed |
| `done` | created; or linked, to a ticket that was found or named |
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, assert_never

from threadsync.marker import url_of
from threadsync.reasons import explain
from threadsync.syncs import SyncState
from worker.status_message.message import StatusMessage
from worker.text.slack_names import RETRY_BUTTON
from worker.text.slack_text import escape

_LASTING: Final = frozenset({"blocked", "failed", "review", "done"})


def describe(sync: SyncState, jira_url: str | None) -> StatusMessage:
    """The message for the thread. Tickets are links where ``jira_url`` says to where."""
    text = _text(sync, jira_url)
    blocks: list[dict[str, Any]] = [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]
    if can_be_retried(sync):
        blocks.append({"type": "actions", "elements": [_retry_button(sync)]})
    return StatusMessage(text, tuple(blocks), lasts=sync.state in _LASTING)


def can_be_retried(sync: SyncState) -> bool:
    """Whether trying again as it is may help. Jira would refuse the same draft once more."""
    if sync.state == "failed":
        return sync.reason not in ("draft_refused", "draft_unreadable", "moved", "unlinked")
    return sync.state in ("blocked", "review")


def _text(sync: SyncState, jira_url: str | None) -> str:
    why = escape(explain(sync.reason))
    if "state" in sync.unreadable:
        return "*I cannot read how this ticket stands:* another release wrote it. My operators must look."
    match sync.state:
        case "pending":
            return f"*Queued.* {why[:1].upper() + why[1:] if why else 'The Jira ticket is created next.'}"
        case "inflight":
            return "*Creating the Jira ticket.*"
        case "retry_wait":
            return f"*Not created yet.* Next try{_at(sync.next_attempt_at)}, because {why}"
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
            return f"*Needs a person:* {why}{has}"
        case "done":
            return _done(sync, jira_url)
        case _:
            assert_never(sync.state)


def _done(sync: SyncState, jira_url: str | None) -> str:
    url = _site(sync, jira_url)
    ticket = _ticket(sync.jira_key, url)
    match sync.origin:
        case "found":
            text = f"*Linked* to {ticket}, which was in Jira already, with this thread's marker."
        case "named":
            text = f"*Linked* to {ticket}, which somebody named for this thread."
        case _:
            text = f"*Created* {ticket}."
    if sync.duplicates:
        others = ", ".join(_ticket(key, url) for key in sync.duplicates)
        text += f" *Needs a person:* this thread's marker is also on {others}. Close what is too much."
    return text


def _site(sync: SyncState, jira_url: str | None) -> str:
    """Where its tickets are looked at: the Jira that they were made in, whichever the settings name now."""
    return url_of(sync.site, jira_url)


def _ticket(key: str | None, url: str) -> str:
    if key is None:
        return "its ticket"
    shown = escape(key)
    return f"<{escape(url)}/browse/{shown}|{shown}>" if url else f"*{shown}*"


def _at(moment: datetime | None) -> str:
    """In each reader's own time zone: https://docs.slack.dev/messaging/formatting-message-text#date-formatting."""
    if moment is None:
        return ""
    return f" at <!date^{int(moment.timestamp())}^{{time}}|{moment.astimezone(UTC):%H:%M} UTC>"


def _retry_button(sync: SyncState) -> dict[str, Any]:
    return {
        "type": "button",
        "action_id": RETRY_BUTTON,
        "text": {"type": "plain_text", "text": "Retry"},
        "value": str(sync.session_id),
    }
