"""A Slack workspace in memory: its messages, people, files and views. No I/O."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sandbox.slack.arguments import CHANNEL, Answer, Arguments, SlackError, content_of
from sandbox.slack.changes import ChangeLog
from sandbox.slack.messages import Message, SlackFile
from sandbox.slack.methods import METHODS
from sandbox.slack.response_urls import Place, deletes, replaces
from sandbox.slack.scopes import SCOPES, check_scope
from sandbox.slack.views import Views

__all__ = ["Message", "SlackError", "SlackFile", "SlackWorkspace"]


@dataclass
class SlackWorkspace:
    """A workspace; with ``channels`` None every well-formed channel id exists.

    ``people`` and ``channel_facts`` hold further members of a user and of a channel in the responses of
    users.info and conversations.info: ``{"U0GUEST": {"is_restricted": True}}``. ``groups`` has the users of
    each user group. A channel in ``moved`` has got the other id; a call with the old id responds with the new
    one. ``deleted`` has channel and timestamp of the messages that were deleted. ``scopes`` are those of the
    call that is carried out. ``site`` is the address of the server that has the files. Each change is in
    ``changes``, of the kinds ``message`` and ``view``.

    A message that the workspace was never told of counts as there for ``chat.getPermalink``: tests send
    events without adding their messages. A deleted one does not.
    """

    channels: Collection[str] | None = None
    messages: list[Message] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    people: dict[str, Answer] = field(default_factory=dict)
    channel_facts: dict[str, Answer] = field(default_factory=dict)
    groups: dict[str, Sequence[str]] = field(default_factory=dict)
    site: str = ""
    changes: ChangeLog = field(default_factory=ChangeLog)
    deleted: set[tuple[str, str]] = field(default_factory=set)
    scopes: Collection[str] = SCOPES
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _last_ts: int = 0

    def __post_init__(self) -> None:
        self.modals = Views(
            lambda: self.new_ts().replace(".", ""), lambda view: self.changes.add("view", view)
        )

    @property
    def views(self) -> list[Answer]:
        """All views that were opened, the last one last, as they stand now."""
        return self.modals.opened

    def call(self, method: str, arguments: Arguments, scopes: Collection[str] = SCOPES) -> Answer:
        """Carry out a call with a token of these scopes, and return its response, ``ok`` included.

        Raises ``SlackError``.
        """
        does = METHODS.get(method)
        if does is None:
            raise SlackError("unknown_method")
        check_scope(method, arguments, scopes)
        with self._lock:
            self.scopes = scopes
            return {"ok": True, **does(self, arguments)}

    def add(
        self,
        channel: str,
        user: str,
        text: str,
        *,
        ts: str,
        thread_ts: str | None = None,
        files: Sequence[SlackFile] = (),
        only_for: str | None = None,
    ) -> Message:
        """Add a user's message, so that ``conversations.replies`` finds it.

        One that is ``only_for`` somebody is in no thread.
        """
        message = Message(channel, ts, text, user, thread_ts, files=tuple(files), only_for=only_for)
        return self.keep(message)

    def delete(self, channel: str, ts: str) -> None:
        """Delete the message, as a user does."""
        with self._lock:
            message = self.get(channel, ts)
            self.messages.remove(message)
            self.deleted.add((channel, ts))
            self.changes.add("message", {**self._shown(message), "is_deleted": True})

    def respond(self, place: Place, answer: dict[str, Any]) -> None:
        """Carry out what was sent to a response URL. Raises ``SlackError``."""
        with self._lock:
            if place.message_ts and (deletes(answer) or replaces(answer)):
                old = self.get(place.channel, place.message_ts)
                if deletes(answer):
                    self.delete(old.channel, old.ts)
                    return
                text, blocks = content_of(answer)
                self.put(old, replace(old, text=text, blocks=blocks, is_edited=True))
                return
            text, blocks = content_of(answer)
            is_for_all = answer.get("response_type") == "in_channel"
            thread_ts = answer.get("thread_ts") or place.thread_ts
            only_for = None if is_for_all else place.user
            ts = self.new_ts()
            self.keep(Message(place.channel, ts, text, thread_ts=thread_ts, blocks=blocks, only_for=only_for))

    def file(self, file_id: str) -> SlackFile | None:
        """Return the file of any message; None if there is none."""
        with self._lock:
            files = (file for message in self.messages for file in message.files)
            return next((file for file in files if file.id == file_id), None)

    def snapshot(self) -> tuple[int, list[Answer]]:
        """Return the number of the last change, and all messages as a page shows them."""
        with self._lock:
            return self.changes.last, [self._shown(message) for message in self.messages]

    def new_ts(self) -> str:
        """Make a timestamp that no message has yet."""
        with self._lock:
            self._last_ts = max(self._last_ts + 1, int(time.time() * 1_000_000))
            return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def find(self, channel: str, ts: str) -> Message | None:
        """Return the message that all see; None if there is none."""
        with self._lock:
            try:
                return self.get(channel, ts)
            except SlackError:
                return None

    def keep(self, message: Message) -> Message:
        """Add a message."""
        with self._lock:
            self.messages.append(message)
            self.changes.add("message", self._shown(message))
        return message

    def channel_of(self, arguments: Arguments) -> str:
        """Return the channel that a call names, by its newest id. Raises ``SlackError``."""
        channel = str(arguments.get("channel", ""))
        channel = self.moved.get(channel, channel)
        known = CHANNEL.fullmatch(channel) if self.channels is None else channel in self.channels
        if not known:
            raise SlackError("channel_not_found")
        return channel

    def in_channel(self, arguments: Arguments) -> list[Message]:
        """Return the messages that all see in the channel that a call names. Raises ``SlackError``."""
        channel = self.channel_of(arguments)
        return [item for item in self.messages if item.channel == channel and item.only_for is None]

    def get(self, channel: str, ts: str) -> Message:
        """Return the message that all see. Raises ``SlackError`` if there is none."""
        for message in self.messages:
            if (message.channel, message.ts) == (channel, ts) and message.only_for is None:
                return message
        raise SlackError("message_not_found")

    def put(self, old: Message, new: Message) -> None:
        """Put ``new`` in place of ``old``."""
        self.messages[self.messages.index(old)] = new
        self.changes.add("message", self._shown(new))

    def _shown(self, message: Message) -> Answer:
        more = {"channel": message.channel, "only_for": message.only_for, "is_edited": message.is_edited}
        return {**message.as_json(self.site), **more}
