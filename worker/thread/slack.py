"""Read a thread from Slack: its permalink, messages and files. Nothing of it is kept.

Each claim of a step has a reader of its own, with at most ``READ_SECONDS`` of reading. What Slack does not
give now is an exception that says for how long to wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Protocol, assert_never
from urllib.parse import urlsplit

import httpx

from worker.http_once import HttpOnce, HttpResponse, NotSent, Unknown
from worker.status_message.answers import Answer, Done, Refused, Throttled, pause_of
from worker.text.slack_errors import OF_INSTALLATION
from worker.thread.files import MOST_BYTES, NotCopied, SlackFile, fault_of, read_file
from worker.thread.hosts import is_permalink, may_have_token, origin_of
from worker.thread.message import ThreadMessage, Us, read_messages

METHODS: Final = ("auth.test", "chat.getPermalink", "conversations.replies")
OPTIONAL_METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "conversations.info": ("channels:read", "groups:read"),
    "files.info": ("files:read",),
    "usergroups.list": ("usergroups:read",),
    "users.info": ("users:read",),
}
"""Methods that are called beside ``METHODS``, with the optional scopes that they need."""

READ_SECONDS: Final = 20.0
MISSING_SCOPE: Final = "missing_scope"

_PAGE: Final = 200
_MOST_PAGES: Final = 200
_SHORTEST_DOWNLOAD: Final = 1.0
_NOT_OURS: Final = frozenset({301, 302, 303, 307, 308, 401, 403})
_GONE: Final = frozenset({404, 410})


class SlackWaits(Exception):
    """Slack gives nothing now. ``seconds``: for which it asks to wait, None if it does not say."""

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds


class SlackRefuses(Exception):
    """Slack refuses a call for a reason of its own; ``error`` is its name."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error

    @property
    def is_of_installation(self) -> bool:
        """True where every call like this is refused, until a person changes the app or its token."""
        return self.error in OF_INSTALLATION


class Calls(Protocol):
    """Slack's Web API, as ``worker.status_message.web_api.WebApi`` calls it."""

    def call(self, method: str, **arguments: Any) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Access:
    """The bot's token, and the address of Slack's API. ``transport`` is for tests, in place of sockets."""

    token: str
    api_url: str
    transport: httpx.AsyncBaseTransport | None = None

    def __repr__(self) -> str:
        return f"Access({self.api_url!r})"


class SlackReader:
    """The reading of one claim. Each method raises `SlackWaits`, and `SlackRefuses` where Slack refuses."""

    def __init__(self, calls: Calls, access: Access, monotonic: Callable[[], float]) -> None:
        self._calls = calls
        self._access = access
        self._monotonic = monotonic
        self._end: float | None = None

    def permalink(self, channel_id: str, thread_ts: str) -> str:
        """Return the address of the thread, as Slack names it."""
        url = self.ask("chat.getPermalink", channel=channel_id, message_ts=thread_ts).get("permalink")
        if not is_permalink(url, self._access.api_url):
            raise SlackRefuses("unusable_permalink")
        return str(url)

    def messages(self, channel_id: str, thread_ts: str, until: str) -> list[ThreadMessage]:
        """Return the thread's messages up to a moment but for our own; some may come twice, in any order."""
        us = self._us()
        found: list[ThreadMessage] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            body = self.ask(
                "conversations.replies",
                channel=channel_id,
                ts=thread_ts,
                limit=_PAGE,
                cursor=cursor,
                include_all_metadata=True,
            )
            listed = body.get("messages")
            page = list(read_messages(listed if isinstance(listed, list) else [], us))
            found += page
            cursor = _next_cursor(body)
            if cursor is None or _is_past(page, thread_ts, until):
                return found
        raise SlackWaits("the thread has too many messages to be read")

    def file(self, file_id: str) -> SlackFile:
        """Return what Slack says of a file. One that was deleted is refused, too."""
        file = read_file(self.ask("files.info", file=file_id).get("file"))
        if file is None or file.id != file_id:
            raise SlackRefuses("file_not_found")
        return file

    def download(self, file: SlackFile) -> bytes | NotCopied:
        """Return a file's content, or why what came is none."""
        url = file.url or ""
        if not may_have_token(url, self._access.api_url):
            return "external"
        answer = self._fetch(url)
        if isinstance(answer, NotSent | Unknown):
            raise SlackWaits(answer.why)
        if answer.status == 429:
            raise SlackWaits("rate limit", pause_of(answer.headers))
        if answer.status in _NOT_OURS:
            return "sign_in"
        if answer.status in _GONE:
            return "gone"
        if answer.status >= 500:
            raise SlackWaits(f"HTTP {answer.status}")
        if answer.status != 200:
            return "no_access"
        if not answer.is_whole:
            return "incomplete" if file.size is not None and file.size <= MOST_BYTES else "too_big"
        return fault_of(file, answer.content, answer.headers.get("Content-Type") or "") or answer.content

    def ask(self, method: str, **arguments: Any) -> Mapping[str, Any]:
        """Call a method; return the body of its success."""
        if self._left() <= 0:
            # What was looked up is known by then, so the next claim gets further.
            raise SlackWaits(f"Slack was read for {READ_SECONDS:g} seconds", 5.0)
        answer = self._calls.call(method, **arguments)
        match answer:
            case Done(body):
                return body
            case Throttled(retry_after):
                raise SlackWaits("rate limit", retry_after)
            case Refused(error):
                raise SlackRefuses(error)
            case NotSent() | Unknown():
                raise SlackWaits(answer.why)
            case _:
                assert_never(answer)

    def _left(self) -> float:
        """Return the seconds of reading that are left; they begin with the first call."""
        if self._end is None:
            self._end = self._monotonic() + READ_SECONDS
        return self._end - self._monotonic()

    def _fetch(self, url: str) -> HttpResponse | NotSent | Unknown:
        parts = urlsplit(url)
        http = HttpOnce(
            "Slack",
            origin_of(url) or "",
            {"Authorization": f"Bearer {self._access.token}", "Accept": "*/*"},
            timeout=max(self._left(), _SHORTEST_DOWNLOAD),
            most_bytes=MOST_BYTES,
            transport=self._access.transport,
        )
        with closing(http):
            return http.exchange("GET", f"{parts.path}{'?' if parts.query else ''}{parts.query}")

    def _us(self) -> Us:
        body = self.ask("auth.test")
        user_id, bot_id = body.get("user_id"), body.get("bot_id")
        return Us(user_id if isinstance(user_id, str) else None, bot_id if isinstance(bot_id, str) else None)


def _next_cursor(body: Mapping[str, Any]) -> str | None:
    metadata = body.get("response_metadata")
    cursor = metadata.get("next_cursor") if isinstance(metadata, dict) else None
    return str(cursor) if cursor and body.get("has_more") else None


def _is_past(page: Iterable[ThreadMessage], thread_ts: str, until: str) -> bool:
    """Return True if a page has messages of after the moment alone, but for the thread's first one."""
    replies = [message for message in page if message.ts != thread_ts]
    return bool(replies) and all(Decimal(message.ts) > Decimal(until) for message in replies)
