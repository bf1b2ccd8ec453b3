"""Parse ``/ticket …``. Pure: text in, request out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

from pydantic import TypeAdapter, ValidationError

from handlers.mapping import act_id, is_moment
from threadsync.actors import SlackActor
from threadsync.channel_settings.parsing import ConfigRequest, parse_config
from threadsync.commands import Unlink, UpdateStatus
from threadsync.errors import InvalidCommand
from threadsync.lookup_commands import LinkLookup
from threadsync.types import SlackTs, Status
from worker.text.named_key import OtherSite, named_key, without_angles
from worker.text.slack_text import escape

SLASH_COMMAND: Final = "/ticket"

Action = Literal["status", "ready", "link", "unlink", "config"]

_ACTIONS: Final[Mapping[str, Action]] = {
    "status": "status",
    "ready": "ready",
    "link": "link",
    "unlink": "unlink",
    "config": "config",
}
_CONFIG: Final = re.compile(r"\s*config(?!\S)(.*)", re.IGNORECASE | re.DOTALL)
_TS: Final = TypeAdapter(SlackTs)
_PERMALINK_PATH: Final = re.compile(r"/archives/([A-Za-z0-9]+)/p([0-9]{7,22})/?", re.ASCII)
_WHICH_THREAD: Final = (
    "I cannot tell which thread you mean: please give the link to a message in it (Copy link)."
)
_NO_TICKET_OF_MINE: Final = (
    "That URL is not in my Jira. Name the ticket by its key, or begin the reason with another word."
)
_APPLIES_TO: Final[Mapping[Action, tuple[Status, ...]]] = {
    "status": (),
    "ready": ("collecting",),
    "link": ("collecting", "ready_to_sync"),
    "unlink": ("synced",),
    "config": (),
}
_LONGEST_REASON: Final = 500


@dataclass(frozen=True)
class TicketRequest:
    """A valid ``/ticket``. ``thread_ts`` is None when the user named no thread.

    ``jira_key`` is the ticket to link or unlink; ``reason`` says why it is unlinked; ``config`` is what to do
    with the channel's settings. ``act_id`` is the same when the same signed bytes come again: a request is
    carried out once.
    """

    action: Action
    channel_id: str
    thread_ts: str | None = None
    jira_key: str | None = None
    reason: str | None = None
    config: ConfigRequest | None = None
    act_id: UUID = field(default_factory=uuid4, compare=False)

    @property
    def applies_to(self) -> tuple[Status, ...]:
        """Return the statuses of the sessions that the request could change."""
        return _APPLIES_TO[self.action]

    def ready(self, thread_ts: str) -> UpdateStatus:
        """Make the command that marks a thread as ready."""
        return UpdateStatus(channel_id=self.channel_id, thread_ts=thread_ts, status="ready_to_sync")

    def link(self, thread_ts: str, actor: SlackActor) -> LinkLookup:
        """Make the lookup of the ticket, which links the thread if the ticket exists."""
        return LinkLookup(
            channel_id=self.channel_id,
            thread_ts=thread_ts,
            jira_key=self.jira_key or "",
            actor=actor,
            command_id=self.act_id,
        )

    def unlink(self, thread_ts: str, jira_key: str, actor: SlackActor, sent_at: str) -> Unlink:
        """Make the command that unlinks a thread's ticket, as of when Slack sent the request.

        Drafts have the time that Slack signed, too: both times come from one clock.
        """
        return Unlink(
            channel_id=self.channel_id,
            thread_ts=thread_ts,
            jira_key=jira_key,
            actor=actor,
            reason=self.reason or "",
            command_id=self.act_id,
            unlinked_at=sent_at,
        )


def parse_ticket_command(form: Mapping[str, Any], jira_url: str | None = None) -> TicketRequest | None:
    """Parse a slash command's form; None asks for help.

    A thread may be named by a message's link, by its timestamp, or by a form field ``thread_ts``; a ticket by
    its key or by its URL, which must be one of ``jira_url`` where that is known.
    Raises ``InvalidCommand`` with a sentence for the user.
    """
    channel_id = str(form.get("channel_id", ""))
    # A command that has "escape channels, users, and links" on gets <link> or <link|label>.
    if config := _CONFIG.match(str(form.get("text") or "")):
        # Its people are in angles, too.
        return TicketRequest("config", channel_id, config=_configuring(config[1]), act_id=act_id(form))
    verb, *words = without_angles(str(form.get("text") or "")).split() or [""]
    action = _ACTIONS.get(verb.lower())
    if action is None:
        return None
    if action == "unlink":
        return _unlinking(words, channel_id, form, jira_url)
    jira_key = _take_key(words, jira_url) if action == "link" else None
    if len(words) > 1:
        raise InvalidCommand("That is too much: please give one link to a message, or none.")
    named = words[0] if words else str(form.get("thread_ts") or "")
    thread_ts = parse_thread(named, channel_id) if named else None
    return TicketRequest(action, channel_id, thread_ts, jira_key, act_id=act_id(form))


def _configuring(text: str) -> ConfigRequest:
    try:
        return parse_config(text)
    except InvalidCommand as exc:
        raise InvalidCommand(f"Nothing changed: {escape(str(exc))}.") from exc


def _unlinking(
    words: list[str], channel_id: str, form: Mapping[str, Any], jira_url: str | None
) -> TicketRequest:
    """Parse ``[PROJ-123] [thread] reason``, or with the thread before the key or at the end.

    A first word that could be a ticket is one: read as part of the reason, it would unlink whichever ticket
    the thread has.
    """
    jira_key = _pop_key(words, jira_url)
    named = str(form.get("thread_ts") or "")
    if words and _names_a_thread(words[0]):
        named = words.pop(0)
        jira_key = jira_key or _pop_key(words, jira_url)
    elif words and _names_a_thread(words[-1]):
        named = words.pop()
    reason = " ".join(words).strip()
    if not reason:
        raise InvalidCommand(
            "Please give a reason, such as `/ticket unlink that is another customer's ticket`."
        )
    thread_ts = parse_thread(named, channel_id) if named else None
    return TicketRequest(
        "unlink", channel_id, thread_ts, jira_key, reason[:_LONGEST_REASON], act_id=act_id(form)
    )


def _pop_key(words: list[str], jira_url: str | None) -> str | None:
    """Remove the first word if it names a ticket, and return the key."""
    try:
        key = named_key(words[0], jira_url) if words else None
    except OtherSite as exc:
        raise InvalidCommand(_NO_TICKET_OF_MINE) from exc
    if key:
        words.pop(0)
    return key


def _names_a_thread(word: str) -> bool:
    return _is(_TS, word) or _PERMALINK_PATH.search(word) is not None


def parse_thread(word: str, channel_id: str) -> str:
    """Return the thread's root timestamp, from a message's link or a timestamp. Raises ``InvalidCommand``."""
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
        # A user of this channel may not see the other one.
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
        raise InvalidCommand("That ticket is in another Jira. I can only link tickets in mine.") from exc
    if key is None:
        raise InvalidCommand("Which ticket? Give its key or URL, such as `/ticket link PROJ-123`.")
    return key


def _is(kind: TypeAdapter[str], text: str) -> bool:
    try:
        kind.validate_python(text)
    except ValidationError:
        return False
    return True
