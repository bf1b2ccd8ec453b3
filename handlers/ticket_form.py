"""The form behind *Create ticket …*: from a click to the view, from what was written to the command. Pure."""

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
    """The modal for the thread of the button. Raises ``InvalidCommand`` when the click names none."""
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
    """What was written as the summary, without white space around it."""
    return _written(submission, SUMMARY).strip()


def faults_in(submission: Payload) -> dict[str, str]:
    """What is wrong with what was written, in words for the user, by the name of the input."""
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
        return f"That is {len(text) - most:,} characters too long; {most:,} is the most. Please shorten it."
    unseen = sum(1 for letter in text if letter == "\x00" or "\ud800" <= letter <= "\udfff")
    if unseen:
        return (
            f"That has {unseen:,} characters which cannot be seen or kept (NUL, or half a letter). "
            "Please paste it as plain text, or type it anew."
        )
    return None


def command_for_submission(submission: Payload, drafted_at: str) -> RequestSync:
    """The command of a form that was sent at ``drafted_at``. Raises ``InvalidCommand``.

    What people type into a form is plain text, and a draft is Slack's notation: hence the escapes.
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
    """That of the click which opened the form; empty if there is none."""
    return str(_about(submission).get("response_url") or "")


def _initial(click: Payload) -> dict[str, str]:
    """The first line of the message that was clicked on, unless we wrote it."""
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
