"""The texts that users read in Slack, as mrkdwn and blocks. Pure: results and errors in, text out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from handlers.mapping import CREATE_BUTTON, READY_BUTTON
from handlers.ticket_command import SLASH_COMMAND, TicketRequest
from threadsync.errors import (
    EnqueueFailed,
    InvalidCommand,
    JiraKeyConflict,
    ResultTimeout,
    SessionNotFound,
    SyncNotChanged,
    SyncNotFound,
    ThreadsyncError,
    UnreadableResult,
)
from threadsync.lookup_commands import LinkAnswer
from threadsync.sessions import SessionResult, ThreadSession
from threadsync.types import Status
from worker.text.slack_text import escape

HELP: Final = f"""\
*One thread, one Jira ticket.* Mention me in a thread, or choose _Open a ticket session_ on a message.
• `{SLASH_COMMAND} status [thread]` lists this channel's newest sessions, or shows one
• `{SLASH_COMMAND} ready [thread]` marks a thread as ready for a ticket
• `{SLASH_COMMAND} link PROJ-123 [thread]` links an existing ticket, named by key or URL
• `{SLASH_COMMAND} unlink [PROJ-123] [thread] reason` unlinks a thread's ticket
• `{SLASH_COMMAND} config [name=value … | reset [name]]` shows or changes this channel's settings
• `{SLASH_COMMAND} help`
Name a thread by the link to a message in it (_Copy link_). Without one I use the only open session."""

_FORGOTTEN: Final = "This thread was forgotten, so it cannot get a ticket. Please start a new thread."
TRY_AGAIN: Final = "I could not pass that on just now. Please try again in a moment."
ASKING_JIRA: Final = "I am still asking Jira about that ticket. I will tell you the result."
NOT_ASKED: Final = (
    f"Jira did not respond in time, so the ticket was probably not linked. Check `{SLASH_COMMAND} status`, "
    "or try again later."
)
NO_TICKET: Final = "Nothing changed: that thread has no ticket."
NO_ACTOR: Final = "Nothing changed: Slack does not say who you are."
MAY_NOT_ACT: Final = (
    "I did nothing: I act only for members of my workspace, not for guests or people from elsewhere."
)
MAY_NOT_ACT_HERE: Final = (
    "I did nothing: this channel's settings say who may use me here, and you are not among them."
)
ONLY_MEMBERS_SET: Final = (
    "Nothing changed: only members of my workspace may change a channel's settings, no guests."
)
CHECKING: Final = "I am still asking Jira about that. I will tell you the result."
QUEUED: Final = "Your request is queued. It is taking longer than usual, and I do not know the result yet."
TOO_MUCH: Final = (
    "You have too many open requests, so I could not follow up on one. "
    f"Check `{SLASH_COMMAND} status`, or try again in a minute."
)
NOT_READ: Final = f"I could not read the result. Check `{SLASH_COMMAND} status`, and try again if needed."
NOTHING_CHANGED_YET: Final = (
    "I could not look up the sessions in time. Nothing was changed; please try again."
)
NOT_LOOKED_UP: Final = (
    "I could not look up this channel's settings in time. Nothing was changed; please try again."
)
NO_SESSIONS: Final = "There is no session in this channel yet. Mention me in a thread to open one."
OPENED: Final = "I am keeping track of this thread. Press the button once it is ready for a Jira ticket."
OPENED_FOR_TICKET: Final = "I am keeping track of this thread. Press the button to create its Jira ticket."
FORM_NOT_OPENED: Final = "I could not open the form just now. Please press the button again."

_STATUS_WORDS: Final[dict[Status, str]] = {
    "collecting": "collecting",
    "ready_to_sync": "ready for a ticket",
    "synced": "has its ticket",
}
_WORKSPACE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)


def opened(*, makes_tickets: bool) -> str:
    """Write the first reply in a thread."""
    return OPENED_FOR_TICKET if makes_tickets else OPENED


def opened_blocks(thread_ts: str, *, makes_tickets: bool = False) -> list[dict[str, Any]]:
    """Build the blocks of the first reply, with a button whose value is the thread."""
    label = "Create ticket …" if makes_tickets else "Ready for a ticket"
    button = {
        "type": "button",
        "action_id": CREATE_BUTTON if makes_tickets else READY_BUTTON,
        "text": {"type": "plain_text", "text": label},
        "value": thread_ts,
    }
    return [
        {"type": "section", "text": {"type": "mrkdwn", "text": opened(makes_tickets=makes_tickets)}},
        {"type": "actions", "elements": [button]},
    ]


def describe_opening(session: SessionResult) -> str:
    """Describe the result of the message shortcut."""
    if session.outcome == "refused":
        return MAY_NOT_ACT_HERE
    if session.outcome == "created":
        return "I am keeping track of that thread now."
    return f"I was already keeping track of that thread; it {_state(session)}."


def describe_ready(session: SessionResult) -> str:
    """Describe the result of the button and of ``/ticket ready``."""
    if session.outcome == "refused":
        return MAY_NOT_ACT_HERE
    if session.outcome == "applied":
        return "The thread is ready for a ticket."
    if session.outcome == "stale":
        return _FORGOTTEN if _is_tombstone(session) else f"Nothing to do: the thread {_state(session)}."
    return "The thread was ready for a ticket already."


def describe_link(session: SessionResult) -> str:
    """Describe the result of ``/ticket link``."""
    if session.outcome == "refused":
        return MAY_NOT_ACT_HERE
    if session.outcome == "stale":
        if _is_tombstone(session):
            return _FORGOTTEN
        return f"Nothing changed: another person was faster, and the thread {_state(session)}."
    already = " already" if session.outcome == "unchanged" else ""
    return f"The thread{already} has the ticket *{escape(str(session.jira_key))}*."


def describe_lookup(answer: LinkAnswer) -> str:
    """Explain why ``/ticket link`` linked nothing."""
    key = answer.jira_key
    match answer.outcome:
        case "no_such_ticket":
            return f"Not linked: Jira has no ticket *{key}*, or I may not see it."
        case "refused":
            return f"Not linked: Jira does not let me look up *{key}*. My operators must fix that."
        case "not_configured":
            return "Not linked: no Jira is configured."
        case _:
            return f"Not linked: Jira is not responding. Please try *{key}* again later."


def describe_unlink(session: SessionResult, jira_key: str | None) -> str:
    """Describe the result of ``/ticket unlink``."""
    if session.outcome == "refused":
        return MAY_NOT_ACT_HERE
    if session.outcome != "stale" and session.jira_key is None:
        return "Done: the thread has no ticket now. Another one is created only on request."
    return f"Nothing changed: the thread {_state(session)}{f', not *{jira_key}*' if jira_key else ''}."


def describe_request(session: SessionResult) -> str:
    """Describe the result of the form that requests a ticket."""
    if session.outcome == "refused":
        return MAY_NOT_ACT_HERE
    if session.jira_key:
        return f"Nothing to do: the thread {_state(session)}."
    if session.outcome == "stale" and _is_tombstone(session):
        return _FORGOTTEN
    if session.outcome == "stale":
        return "Your draft came too late: the ticket is already being created from another draft."
    return "Your ticket is on its way. The thread shows its status."


def _is_tombstone(session: SessionResult) -> bool:
    """Return True for a forgotten session without a ticket."""
    return session.user_id == "forgotten" and not session.jira_key


def describe_change(request: TicketRequest, session: SessionResult) -> str:
    """Describe the result of a ``/ticket`` that changes something."""
    match request.action:
        case "link":
            return describe_link(session)
        case "unlink":
            return describe_unlink(session, request.jira_key)
        case _:
            return describe_ready(session)


def describe_error(error: ThreadsyncError) -> str:
    """Explain an error to a user, with what to do next."""
    match error:
        case EnqueueFailed():
            return TRY_AGAIN
        case ResultTimeout():
            return QUEUED
        case UnreadableResult():
            return NOT_READ
        case SessionNotFound():
            return "I do not keep track of that thread. Mention me in it first."
        case JiraKeyConflict():
            has = escape(error.jira_key)
            return f"Nothing changed: the thread already has *{has}*, and a thread has one ticket."
        case SyncNotChanged():
            return "There is nothing to retry: its state has changed meanwhile."
        case SyncNotFound():
            return "No ticket was requested for that thread."
        case InvalidCommand():
            return "That did not work: Slack did not name a thread."
        case _:
            return "That failed on our side. My operators find it in the dead letters."


def list_sessions(sessions: Sequence[ThreadSession], workspace: str = "", *, more: bool = False) -> str:
    """List sessions, one per line, newest first."""
    if not sessions:
        return NO_SESSIONS
    lines = [f"• {_thread(session, workspace)}: {_state(session)}" for session in sessions]
    return "\n".join([*lines, "• … and older sessions"] if more else lines)


def describe_session(session: ThreadSession | None) -> str:
    """Describe the session of one thread."""
    return f"The thread {_state(session)}." if session else "I do not keep track of that thread."


def ask_which(request: TicketRequest, sessions: Sequence[ThreadSession], workspace: str = "") -> str:
    """Ask which of several sessions is meant, with the command to type for each."""
    key = f" {escape(request.jira_key)}" if request.jira_key else ""
    # Inside back ticks, as it would be typed again.
    reason = f" {request.reason.replace('`', chr(39))}" if request.reason else ""
    lines = [
        f"• {_thread(session, workspace)}: "
        f"`{SLASH_COMMAND} {request.action}{key} {session.thread_ts}{reason}`"
        for session in sessions
    ]
    return "\n".join(["Which thread? Several match, so I changed nothing.", *lines])


def none_fits(request: TicketRequest) -> str:
    """Say that no session of the channel matches the command."""
    if request.action == "unlink":
        which = f"the ticket *{request.jira_key}*" if request.jira_key else "a ticket"
        return (
            f"Nothing changed: none of this channel's newest threads has {which}. "
            "Name the thread by its link."
        )
    words = " or ".join(_STATUS_WORDS[status] for status in request.applies_to)
    return f"Nothing changed: no thread in this channel is {words}. Mention me in a thread to open a session."


def _state(session: ThreadSession) -> str:
    if session.jira_key:
        return f"has the ticket *{escape(session.jira_key)}*"
    # A newer worker may have more statuses.
    return f"is {_STATUS_WORDS.get(session.status, 'in an unknown state')}"


def _thread(session: ThreadSession, workspace: str) -> str:
    """Format a thread by its start, in the reader's time zone; a link where the workspace is known."""
    seconds = session.thread_ts.partition(".")[0]
    link = ""
    if _WORKSPACE.fullmatch(workspace):
        message = session.thread_ts.replace(".", "")
        link = f"^https://{workspace}.slack.com/archives/{escape(session.channel_id)}/p{message}"
    return (
        f"<!date^{seconds}^{{date_short_pretty}}, {{time}}{link}|{session.thread_ts}> by <@{session.user_id}>"
    )
