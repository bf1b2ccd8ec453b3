"""Messages and files of the sandbox Slack, and the pages in which calls return them. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from sandbox.slack.arguments import Answer, Arguments, is_on, moment_of, number_of
from sandbox.slack.requests import APP_ID, BOT_ID, BOT_USER_ID

_MOST_OF_A_PAGE: Final = 1_000
_MOST_OF_HISTORY: Final = 999
_LATEST: Final = "9999999999999999"


@dataclass(frozen=True)
class SlackFile:
    """A file that a user uploaded. ``content`` is what a download with the bot's token returns.

    ``told`` overrides members of its JSON: ``{"size": 9}``, ``{"is_external": True}``,
    ``{"file_access": "check_file_info"}``, ``{"mode": "hidden_by_limit"}``.
    """

    id: str
    name: str
    content: bytes
    mimetype: str = "application/octet-stream"
    told: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self, site: str) -> Answer:
        """Show the file as Slack does; ``site`` is the address of the server that has it."""
        url = f"{site}/files-pri/{self.id}"
        return {
            "id": self.id,
            "name": self.name,
            "title": self.name,
            "mimetype": self.mimetype,
            "size": len(self.content),
            "mode": "hosted",
            "is_external": False,
            "url_private": f"{url}/{self.id}",
            "url_private_download": f"{url}/download/{self.id}",
            **self.told,
        }


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
    files: tuple[SlackFile, ...] = ()
    is_edited: bool = False

    @property
    def is_by_us(self) -> bool:
        """True for a message of the bot."""
        return self.user == BOT_USER_ID

    @property
    def is_reply(self) -> bool:
        """True for a message inside a thread; its root is none."""
        return self.thread_ts is not None and self.thread_ts != self.ts

    def as_json(self, site: str = "", *, with_metadata: bool = False) -> Answer:
        """Show the message as Slack does; metadata only on request. ``site`` has the files."""
        by_us = {"bot_id": BOT_ID, "app_id": APP_ID} if self.is_by_us else {}
        answer: Answer = {"type": "message", "user": self.user, "text": self.text, "ts": self.ts, **by_us}
        if self.thread_ts:
            answer["thread_ts"] = self.thread_ts
        if self.blocks:
            answer["blocks"] = list(self.blocks)
        if self.reactions:
            answer["reactions"] = [{"name": name, "count": 1} for name in self.reactions]
        if self.files:
            answer["files"] = [file.as_json(site) for file in self.files]
        if self.metadata and with_metadata:
            answer["metadata"] = dict(self.metadata)
        return answer


def page_of_thread(messages: Sequence[Message], root: str, arguments: Arguments, site: str) -> Answer | None:
    """Return a page of ``conversations.replies``; None if there is no such thread.

    The root comes first on every page, whatever the cursor; the others follow, the oldest first.
    """
    thread = [item for item in messages if root in (item.ts, item.thread_ts)]
    if not thread:
        return None
    roots = [item for item in thread if item.ts == root]
    later = [item for item in _within(thread, arguments) if item.ts != root]
    later.sort(key=_moment)
    begin, limit = number_of(arguments, "cursor", 0), _limit(arguments, _MOST_OF_A_PAGE, _MOST_OF_A_PAGE)
    page = [*roots, *later[begin : begin + limit]]
    return _page(page, begin + limit, len(later), arguments, site)


def page_of_history(messages: Sequence[Message], arguments: Arguments, site: str) -> Answer:
    """Return a page of ``conversations.history``: the newest first, without replies in threads."""
    shown = [item for item in _within(messages, arguments) if not item.is_reply]
    shown.sort(key=_moment, reverse=True)
    begin, limit = number_of(arguments, "cursor", 0), _limit(arguments, 100, _MOST_OF_HISTORY)
    return _page(shown[begin : begin + limit], begin + limit, len(shown), arguments, site)


def _limit(arguments: Arguments, default: int, most: int) -> int:
    return number_of(arguments, "limit", default, most)


def _within(messages: Sequence[Message], arguments: Arguments) -> list[Message]:
    oldest, latest = moment_of(arguments, "oldest", "0"), moment_of(arguments, "latest", _LATEST)
    inclusive = is_on(arguments, "inclusive")

    def fits(moment: Decimal) -> bool:
        return oldest < moment < latest or (inclusive and moment in (oldest, latest))

    return [item for item in messages if fits(_moment(item))]


def _page(page: Sequence[Message], end: int, of: int, arguments: Arguments, site: str) -> Answer:
    with_metadata = is_on(arguments, "include_all_metadata")
    return {
        "messages": [item.as_json(site, with_metadata=with_metadata) for item in page],
        "has_more": end < of,
        "response_metadata": {"next_cursor": str(end) if end < of else ""},
    }


def _moment(message: Message) -> Decimal:
    return Decimal(message.ts)
