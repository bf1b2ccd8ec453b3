"""A Slack workspace in memory, and the effect of each Web API method on it. No I/O."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from sandbox.slack.requests import APP_ID, BOT_ID, BOT_USER_ID, TEAM_ID

Answer = dict[str, Any]
Arguments = Mapping[str, Any]

_URL: Final = "https://sandbox.slack.server.com/"
_CHANNEL: Final = re.compile(r"[CDG][A-Z0-9]{2,30}", re.ASCII)
_USER: Final = re.compile(r"[UW][A-Z0-9]{2,30}", re.ASCII)
_TS: Final = re.compile(r"[0-9]{1,16}\.[0-9]{1,9}", re.ASCII)


class SlackError(Exception):
    """Error of a call, which becomes ``ok: false``; the message is Slack's name for the error."""


@dataclass(frozen=True)
class Message:
    """A posted message. ``only_for`` names the one user who sees an ephemeral one."""

    channel: str
    ts: str
    text: str
    user: str = BOT_USER_ID
    thread_ts: str | None = None
    blocks: tuple[Any, ...] = ()
    only_for: str | None = None
    reactions: tuple[str, ...] = ()
    metadata: Mapping[str, Any] | None = None

    def as_json(self, *, with_metadata: bool = False) -> Answer:
        """Show the message as Slack does; metadata only on request."""
        by_us = {"bot_id": BOT_ID, "app_id": APP_ID} if self.user == BOT_USER_ID else {}
        answer: Answer = {"type": "message", "user": self.user, "text": self.text, "ts": self.ts, **by_us}
        if self.thread_ts:
            answer["thread_ts"] = self.thread_ts
        if self.blocks:
            answer["blocks"] = list(self.blocks)
        if self.reactions:
            answer["reactions"] = [{"name": name, "count": 1} for name in self.reactions]
        if self.metadata and with_metadata:
            answer["metadata"] = dict(self.metadata)
        return answer


@dataclass
class SlackWorkspace:
    """A workspace; with ``channels`` None every well-formed channel id exists.

    ``views`` are the opened ones. ``people`` holds further members of a user in the response of users.info:
    ``{"U0GUEST": {"is_restricted": True}}``. A channel in ``moved`` has got the other id; a call with the old
    id responds with the new one.
    """

    channels: Collection[str] | None = None
    messages: list[Message] = field(default_factory=list)
    views: list[Answer] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    people: dict[str, Answer] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _last_ts: int = 0

    def call(self, method: str, arguments: Arguments) -> Answer:
        """Carry out a call, and return its response, ``ok`` included. Raises ``SlackError``."""
        does = _METHODS.get(method)
        if does is None:
            raise SlackError("unknown_method")
        with self._lock:
            return {"ok": True, **does(self, arguments)}

    def add(self, channel: str, user: str, text: str, *, ts: str, thread_ts: str | None = None) -> Message:
        """Add a user's message, so that ``conversations.replies`` finds it."""
        return self._keep(Message(channel, ts, text, user, thread_ts))

    def delete(self, channel: str, ts: str) -> None:
        """Delete the message, as a user does."""
        with self._lock:
            self.messages.remove(self._find(channel, ts))

    def new_ts(self) -> str:
        """Make a timestamp that no message has yet."""
        with self._lock:
            self._last_ts = max(self._last_ts + 1, int(time.time() * 1_000_000))
            return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def _keep(self, message: Message) -> Message:
        with self._lock:
            self.messages.append(message)
        return message

    def _channel(self, arguments: Arguments) -> str:
        channel = str(arguments.get("channel", ""))
        channel = self.moved.get(channel, channel)
        known = _CHANNEL.fullmatch(channel) if self.channels is None else channel in self.channels
        if not known:
            raise SlackError("channel_not_found")
        return channel

    def _find(self, channel: str, ts: str) -> Message:
        for message in self.messages:
            if (message.channel, message.ts) == (channel, ts) and message.only_for is None:
                return message
        raise SlackError("message_not_found")

    def _replace(self, old: Message, new: Message) -> None:
        self.messages[self.messages.index(old)] = new

    def auth_test(self, arguments: Arguments) -> Answer:
        return {
            "url": _URL,
            "team": "Sandbox",
            "user": "threadsync",
            "team_id": TEAM_ID,
            "user_id": BOT_USER_ID,
            "bot_id": BOT_ID,
            "is_enterprise_install": False,
        }

    def post_message(self, arguments: Arguments) -> Answer:
        message = self._keep(self._new_message(arguments))
        return {"channel": message.channel, "ts": message.ts, "message": message.as_json()}

    def post_ephemeral(self, arguments: Arguments) -> Answer:
        user = str(arguments.get("user", ""))
        if not _USER.fullmatch(user):
            raise SlackError("user_not_in_channel")
        message = self._keep(replace(self._new_message(arguments), only_for=user))
        return {"message_ts": message.ts}

    def update(self, arguments: Arguments) -> Answer:
        channel = self._channel(arguments)
        old = self._find(channel, str(arguments.get("ts", "")))
        if old.user != BOT_USER_ID:
            raise SlackError("cant_update_message")
        text, blocks = _content(arguments)
        new = replace(old, text=text, blocks=blocks, metadata=_metadata(arguments) or old.metadata)
        self._replace(old, new)
        return {"channel": channel, "ts": new.ts, "text": new.text, "message": new.as_json()}

    def permalink(self, arguments: Arguments) -> Answer:
        channel, ts = self._channel(arguments), str(arguments.get("message_ts", ""))
        if not _TS.fullmatch(ts):
            raise SlackError("message_not_found")
        link = f"{_URL}archives/{channel}/p{ts.replace('.', '')}"
        thread_ts = next((item.thread_ts for item in self.messages if item.ts == ts), None)
        query = f"?thread_ts={thread_ts}&cid={channel}" if thread_ts else ""
        return {"channel": channel, "permalink": link + query}

    def replies(self, arguments: Arguments) -> Answer:
        channel, root = self._channel(arguments), str(arguments.get("ts", ""))
        thread = [item for item in self.messages if item.channel == channel and item.only_for is None]
        thread = [item for item in thread if root in (item.ts, item.thread_ts)]
        if not thread:
            raise SlackError("thread_not_found")
        # The root comes first on every page, whatever the cursor.
        roots = [item for item in thread if item.ts == root]
        later = [item for item in thread if item.ts != root and Decimal(item.ts) > _oldest(arguments)]
        later.sort(key=lambda item: Decimal(item.ts))
        begin, limit = _number(arguments, "cursor", 0), _number(arguments, "limit", 1000)
        rest = len(later) - begin - limit
        with_metadata = str(arguments.get("include_all_metadata", "")).lower() in ("true", "1")
        page = [*roots, *later[begin : begin + limit]]
        return {
            "messages": [item.as_json(with_metadata=with_metadata) for item in page],
            "has_more": rest > 0,
            "response_metadata": {"next_cursor": str(begin + limit) if rest > 0 else ""},
        }

    def channel_info(self, arguments: Arguments) -> Answer:
        channel = self._channel(arguments)
        kinds = {"is_channel": channel[0] == "C", "is_group": channel[0] == "G", "is_im": channel[0] == "D"}
        return {"channel": {"id": channel, "name": channel.lower(), "is_archived": False, **kinds}}

    def user_info(self, arguments: Arguments) -> Answer:
        user = str(arguments.get("user", ""))
        if not _USER.fullmatch(user):
            raise SlackError("user_not_found")
        names = {"name": user.lower(), "real_name": user.title()}
        marks = {"is_bot": user == BOT_USER_ID, "is_restricted": False, "is_ultra_restricted": False}
        return {"user": {"id": user, "team_id": TEAM_ID, **marks, **names, **self.people.get(user, {})}}

    def bot_info(self, arguments: Arguments) -> Answer:
        if arguments.get("bot") != BOT_ID:
            raise SlackError("bot_not_found")
        return {"bot": {"id": BOT_ID, "app_id": APP_ID, "user_id": BOT_USER_ID, "name": "threadsync"}}

    def open_view(self, arguments: Arguments) -> Answer:
        if not arguments.get("trigger_id"):
            raise SlackError("invalid_trigger_id")
        view = _from_json(arguments.get("view"))
        if not isinstance(view, dict):
            raise SlackError("invalid_arguments")
        opened = {
            **view,
            "id": f"V{self.new_ts().replace('.', '')}",
            "team_id": TEAM_ID,
            "hash": self.new_ts(),
        }
        self.views.append(opened)
        return {"view": opened}

    def update_view(self, arguments: Arguments) -> Answer:
        view, view_id = _from_json(arguments.get("view")), arguments.get("view_id")
        if not isinstance(view, dict):
            raise SlackError("invalid_arguments")
        old = next((item for item in self.views if item["id"] == view_id), None)
        if old is None:
            raise SlackError("not_found")
        if arguments.get("hash") not in (None, "", old["hash"]):
            raise SlackError("hash_conflict")
        updated = {**view, "id": old["id"], "team_id": TEAM_ID, "hash": self.new_ts()}
        self.views[self.views.index(old)] = updated
        return {"view": updated}

    def add_reaction(self, arguments: Arguments) -> Answer:
        old = self._find(self._channel(arguments), str(arguments.get("timestamp", "")))
        name = str(arguments.get("name", ""))
        if not name:
            raise SlackError("invalid_name")
        if name in old.reactions:
            raise SlackError("already_reacted")
        self._replace(old, replace(old, reactions=(*old.reactions, name)))
        return {}

    def _new_message(self, arguments: Arguments) -> Message:
        channel = self._channel(arguments)
        text, blocks = _content(arguments)
        thread_ts = arguments.get("thread_ts")
        if thread_ts is not None and not _TS.fullmatch(str(thread_ts)):
            raise SlackError("invalid_thread_ts")
        metadata = _metadata(arguments)
        return Message(channel, self.new_ts(), text, thread_ts=thread_ts, blocks=blocks, metadata=metadata)


def _content(arguments: Arguments) -> tuple[str, tuple[Any, ...]]:
    text, blocks = str(arguments.get("text") or ""), _from_json(arguments.get("blocks")) or []
    if not isinstance(blocks, list):
        raise SlackError("invalid_blocks_format")
    if not text and not blocks:
        raise SlackError("no_text")
    return text, tuple(blocks)


def _metadata(arguments: Arguments) -> Mapping[str, Any] | None:
    metadata = _from_json(arguments.get("metadata"))
    if metadata is not None and not (
        isinstance(metadata, dict) and {"event_type", "event_payload"} <= set(metadata)
    ):
        raise SlackError("invalid_metadata_format")
    return metadata


def _oldest(arguments: Arguments) -> Decimal:
    oldest = str(arguments.get("oldest") or "0")
    if oldest != "0" and not _TS.fullmatch(oldest):
        raise SlackError("invalid_ts_oldest")
    return Decimal(oldest)


def _number(arguments: Arguments, name: str, default: int) -> int:
    text = str(arguments.get(name) or default)
    if not text.isdecimal():
        raise SlackError(f"invalid_{name}")
    return int(text)


def _from_json(value: Any) -> Any:
    """Read blocks or a view: JSON text in a form, plain JSON in a JSON body."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise SlackError("invalid_arguments") from None


_METHODS: Final[Mapping[str, Callable[[SlackWorkspace, Arguments], Answer]]] = {
    "auth.test": SlackWorkspace.auth_test,
    "bots.info": SlackWorkspace.bot_info,
    "chat.getPermalink": SlackWorkspace.permalink,
    "chat.postEphemeral": SlackWorkspace.post_ephemeral,
    "chat.postMessage": SlackWorkspace.post_message,
    "chat.update": SlackWorkspace.update,
    "conversations.info": SlackWorkspace.channel_info,
    "conversations.replies": SlackWorkspace.replies,
    "reactions.add": SlackWorkspace.add_reaction,
    "users.info": SlackWorkspace.user_info,
    "views.open": SlackWorkspace.open_view,
    "views.update": SlackWorkspace.update_view,
}
