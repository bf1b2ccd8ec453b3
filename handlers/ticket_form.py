"""The form of *Create ticket …*: from a click to the view, from its submission to the command. Pure."""

from __future__ import annotations

import json
from typing import Any, Final

from handlers.mapping import Payload, command_for_button
from handlers.payload import object_in
from threadsync.commands import RequestSync
from threadsync.syncs import LONGEST_DRAFT_DESCRIPTION, LONGEST_DRAFT_SUMMARY
from worker.text.slack_text import escape, one_line

TICKET_FORM: Final = "threadsync_ticket"
SUMMARY: Final = "summary"
DESCRIPTION: Final = "description"

NO_SUMMARY: Final = "Please say in a few words what the ticket is about."

_LONGEST_SUMMARY: Final = 255
_LONGEST_RESPONSE_URL: Final = 1000


def ticket_form(click: Payload) -> dict[str, Any]:
    """Build the modal for the thread of a button. Raises ``InvalidCommand`` when the click names none."""
    thread = command_for_button(click)
    about = {"channel_id": thread.channel_id, "thread_ts": thread.thread_ts}
    url = str(click.get("response_url") or "")
    if len(url) <= _LONGEST_RESPONSE_URL:
        about["response_url"] = url
    return {
        "type": "modal",
        "callback_id": TICKET_FORM,
        "private_metadata": json.dumps(about),
        "title": _plain("Create a Jira ticket"),
        "submit": _plain("Create"),
        "close": _plain("Cancel"),
        "blocks": [
            _field(SUMMARY, "Summary", max_length=_LONGEST_SUMMARY, **_initial(click)),
            {**_field(DESCRIPTION, "Description", multiline=True), "optional": True},
        ],
    }


def summary_in(submission: Payload) -> str:
    """Return the summary that was written, stripped."""
    return _written(submission, SUMMARY).strip()


def faults_in(submission: Payload) -> dict[str, str]:
    """Return the faults of the inputs, as sentences for the user, by the input's name."""
    faults = {}
    if not summary_in(submission):
        faults[SUMMARY] = NO_SUMMARY
    for name, most in ((SUMMARY, LONGEST_DRAFT_SUMMARY), (DESCRIPTION, LONGEST_DRAFT_DESCRIPTION)):
        text = escape(_written(submission, name))
        if fault := _fault_of(text, most):
            faults[name] = fault
    return faults


def _fault_of(text: str, most: int) -> str | None:
    if len(text) > most:
        return f"That is {len(text) - most:,} characters too long; the limit is {most:,}. Please shorten it."
    unseen = sum(1 for letter in text if letter == "\x00" or "\ud800" <= letter <= "\udfff")
    if unseen:
        return (
            f"That has {unseen:,} invalid characters (NUL, or half of a character). "
            "Please paste it as plain text, or type it again."
        )
    return None


def command_for_submission(submission: Payload, drafted_at: str) -> RequestSync:
    """Make the command of a form that was sent at ``drafted_at``. Raises ``InvalidCommand``.

    A form has plain text, and a draft is mrkdwn: hence the escapes.
    """
    about = _about(submission)
    draft = {
        "summary": escape(summary_in(submission)),
        "description": escape(_written(submission, DESCRIPTION)),
    }
    arguments = {
        "channel_id": about.get("channel_id", ""),
        "thread_ts": about.get("thread_ts", ""),
        "draft": draft,
        "drafted_at": drafted_at,
    }
    return RequestSync.from_message((), arguments)


def response_url_of(submission: Payload) -> str:
    """Return the response URL of the click that opened the form; empty if there is none."""
    return str(_about(submission).get("response_url") or "")


def _initial(click: Payload) -> dict[str, str]:
    """Return the first line of the message with the button, unless we wrote it."""
    message = object_in(click, "message")
    text = message.get("text")
    if not isinstance(text, str) or message.get("bot_id"):
        return {}
    lines = (one_line(line) for line in text.splitlines())
    first = next((line for line in lines if line), "")[:_LONGEST_SUMMARY]
    return {"initial_value": first} if first else {}


def _field(name: str, label: str, **options: Any) -> dict[str, Any]:
    element = {"type": "plain_text_input", "action_id": name, **options}
    return {"type": "input", "block_id": name, "label": _plain(label), "element": element}


def _plain(text: str) -> dict[str, str]:
    return {"type": "plain_text", "text": text}


def _about(submission: Payload) -> Payload:
    try:
        about = json.loads(object_in(submission, "view").get("private_metadata") or "{}")
    except (ValueError, TypeError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


def _written(submission: Payload, name: str) -> str:
    values = object_in(object_in(object_in(submission, "view"), "state"), "values")
    value = object_in(object_in(values, name), name).get("value")
    return value if isinstance(value, str) else ""
