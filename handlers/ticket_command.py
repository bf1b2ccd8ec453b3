"""What ``/ticket …`` asks for. Pure: text in, request out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import TypeAdapter, ValidationError

from handlers.mapping import is_moment
from tasks.commands import MarkSynced, UpdateStatus
from worker.db.models import SlackTs, Status
from worker.errors import InvalidCommand
from worker.jira.named_key import OtherSite, named_key, without_angles

SLASH_COMMAND: Final = "/ticket"

Action = Literal["status", "ready", "link"]

_ACTIONS: Final[Mapping[str, Action]] = {"status": "status", "ready": "ready", "link": "link"}
_TS: Final = TypeAdapter(SlackTs)
_PERMALINK_PATH: Final = re.compile(r"/archives/([A-Za-z0-9]+)/p([0-9]{7,22})/?", re.ASCII)
_WHICH_THREAD: Final = "I cannot tell which thread you mean: give me a message's link (Copy link)."
_APPLIES_TO: Final[Mapping[Action, tuple[Status, ...]]] = {
    "status": (),
    "ready": ("collecting",),
    "link": ("collecting", "ready_to_sync"),
}


@dataclass(frozen=True)
class TicketRequest:
    """A ``/ticket`` that makes sense. ``thread_ts`` is None when the user named no thread."""

    action: Action
    channel_id: str
    thread_ts: str | None = None
    jira_key: str | None = None

    @property
    def applies_to(self) -> tuple[Status, ...]:
        """The statuses of the sessions that the request would change."""
        return _APPLIES_TO[self.action]

    def command(self, thread_ts: str) -> UpdateStatus | MarkSynced:
        """The command for one thread of the channel; not for ``status``, which changes nothing."""
        if self.action == "link":
            return MarkSynced(channel_id=self.channel_id, thread_ts=thread_ts, jira_key=self.jira_key or "")
        return UpdateStatus(channel_id=self.channel_id, thread_ts=thread_ts, status="ready_to_sync")


def parse_ticket_command(form: Mapping[str, Any], jira_url: str | None = None) -> TicketRequest | None:
    """The request in a slash command's form; None asks for help.

    A thread may be named by a message's link, by its timestamp, or by a form field ``thread_ts``; a ticket by
    its key or by its address, which must be one of ``jira_url`` where that is known.
    Raises ``InvalidCommand`` with a sentence for the user.
    """
    channel_id = str(form.get("channel_id", ""))
    # A command that has "escape channels, users, and links" on gets <link> or <link|label>.
    verb, *words = without_angles(str(form.get("text") or "")).split() or [""]
    action = _ACTIONS.get(verb.lower())
    if action is None:
        return None
    jira_key = _take_key(words, jira_url) if action == "link" else None
    if len(words) > 1:
        raise InvalidCommand("That is more than I understand: give me one link to a message, or none.")
    named = words[0] if words else str(form.get("thread_ts") or "")
    return TicketRequest(action, channel_id, parse_thread(named, channel_id) if named else None, jira_key)


def parse_thread(word: str, channel_id: str) -> str:
    """The thread's root timestamp, of a message's link or of a timestamp. Raises ``InvalidCommand``."""
    if _is(_TS, word) and is_moment(word):
        return word
    try:
        parts = urlsplit(without_angles(word))
    except ValueError as exc:
        raise InvalidCommand(_WHICH_THREAD) from exc
    path = _PERMALINK_PATH.fullmatch(parts.path)
    if not path:
        raise InvalidCommand(_WHICH_THREAD)
    channel, digits = path.groups()
    if channel != channel_id:
        # Whoever sees this channel need not see the other one.
        raise InvalidCommand("That message is in another channel. Please use the command there.")
    named = parse_qs(parts.query).get("thread_ts", [""])[0]
    thread_ts = named if _is(_TS, named) else f"{digits[:-6]}.{digits[-6:]}"
    if not is_moment(thread_ts):
        raise InvalidCommand(_WHICH_THREAD)
    return thread_ts


def _take_key(words: list[str], jira_url: str | None) -> str:
    try:
        key = named_key(words.pop(0) if words else "", jira_url)
    except OtherSite as exc:
        raise InvalidCommand("That ticket is in another Jira than mine. I can link tickets of mine.") from exc
    if key is None:
        raise InvalidCommand("Which ticket? Write its key or its address, such as `/ticket link PROJ-123`.")
    return key


def _is(kind: TypeAdapter[str], text: str) -> bool:
    try:
        kind.validate_python(text)
    except ValidationError:
        return False
    return True
