"""The form of *Create ticket …*: from a click to what the form is about. Pure."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from handlers.form.about import About, about_of
from handlers.form.draft import DESCRIPTION, NO_SUMMARY, SUMMARY
from handlers.form.view import ISSUE_TYPE, PROJECT, TICKET_FORM, Screen, form_view
from handlers.mapping import Payload, command_for_button, command_for_retry
from handlers.payload import object_in

__all__ = [
    "DESCRIPTION",
    "ISSUE_TYPE",
    "NO_SUMMARY",
    "PROJECT",
    "SUMMARY",
    "TICKET_FORM",
    "about_click",
    "about_fix",
    "response_url_of",
    "ticket_form",
]


def about_click(click: Payload) -> About:
    """Return what the form is about: the thread of a button. Raises ``InvalidCommand`` when it names none."""
    thread = command_for_button(click)
    return About(thread.channel_id, thread.thread_ts, str(click.get("response_url") or ""))


def about_fix(click: Payload) -> About:
    """Return what the form of a *Fix* button is about: its thread and its session. Raises ``InvalidCommand``.

    The button is in a status message, whose thread the payload names.
    """
    session_id = UUID(str(command_for_retry(click).session_id))
    message, container = object_in(click, "message"), object_in(click, "container")
    thread_ts = message.get("thread_ts") or container.get("thread_ts") or ""
    of_thread = {**click, "actions": [{"value": thread_ts}]}
    thread = command_for_button(of_thread)
    return About(
        thread.channel_id,
        thread.thread_ts,
        str(click.get("response_url") or ""),
        session_id=str(session_id),
    )


def ticket_form(click: Payload) -> dict[str, Any]:
    """Build the form of the essentials for the thread of a button. Raises ``InvalidCommand``."""
    return form_view(Screen(), about_click(click))


def response_url_of(submission: Payload) -> str:
    """Return the response URL of the click that opened the form; empty if there is none."""
    about = about_of(object_in(submission, "view"))
    return about.response_url if about else ""
