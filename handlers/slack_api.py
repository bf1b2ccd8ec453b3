"""Call Slack's Web API and response URLs. Failures are logged, never raised or sent twice."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import aiohttp
import structlog
from slack_sdk.errors import SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from handlers.slack_http import is_slacks, new_session
from threadsync.hosts import is_loopback
from worker.text.slack_errors import OF_INSTALLATION, THROTTLING, UNCLEAR

log = structlog.get_logger(__name__)

_MOST_THROTTLED: Final = 2
"""Most 429s to wait out, for a reply to a user."""

_CALL_SECONDS: Final = 60
"""Limit of a reply to a user, including the waits of 429s."""

Posting = Literal["ended", "not posted", "perhaps"]
"""Outcome of a post: posted or refused for good; not posted, for a passing reason; perhaps posted."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,99}", re.ASCII)
"""A name of Slack's errors; exceptions have capitals."""

TROUBLE: Final = (SlackClientError, aiohttp.ClientError, OSError, ValueError)
"""Errors of slack_sdk; a ValueError is a malformed Retry-After."""

_VIEW_SECONDS: Final = 2.5
"""A trigger expires after 3 s: https://docs.slack.dev/interactivity/handling-user-interaction."""

_VIEW_GONE: Final = frozenset({"hash_conflict", "not_found", "view_not_found"})
"""Errors of a view that has been replaced or closed meanwhile."""

_BEGINNING: Final = 3
"""Messages to read for a thread's first one: before it there may be one of ours."""

# Below WARNING the SDK logs what it sends, message texts included, whatever LOG_LEVEL says.
_sdk_log = logging.getLogger("slack_sdk.threadsync")
_sdk_log.setLevel(logging.WARNING)


@dataclass(frozen=True)
class OpenedView:
    """A modal that is open. ``hash`` is of its present content, and guards a newer one."""

    id: str
    hash: str = field(default="", compare=False)


class SlackApi:
    """A client of Slack. Open it inside the event loop that uses it."""

    def __init__(self, token: str, base_url: str) -> None:
        self.token = token
        self.web = AsyncWebClient(
            # A reply that waits in this process would be lost with it: handlers/follow_ups.py.
            token=token,
            base_url=base_url,
            retry_handlers=[],
            logger=_sdk_log,
        )
        self._api_url = base_url
        if is_loopback(base_url):
            # The SDK takes HTTP_PROXY from the environment, and does not know NO_PROXY.
            self.web.proxy = None

    async def open(self) -> None:
        """Open the HTTP session."""
        self.web.session = new_session()

    async def close(self) -> None:
        """Close the HTTP session."""
        if self.web.session:
            await self.web.session.close()
            self.web.session = None

    async def post_in_thread(
        self,
        channel_id: str,
        thread_ts: str,
        text: str,
        blocks: Sequence[dict[str, Any]],
        metadata: Mapping[str, Any],
    ) -> Posting:
        """Reply in a thread, at most once; what fails is logged."""
        call = self.web.chat_postMessage(
            channel=channel_id, thread_ts=thread_ts, text=text, blocks=blocks, metadata=dict(metadata)
        )
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await call
        except TROUBLE as exc:
            log.warning(
                "slack call failed",
                method="chat.postMessage",
                error=describe_failure(exc),
                channel_id=channel_id,
                thread_ts=thread_ts,
            )
            return _became(exc)
        return "ended"

    async def tell_privately(self, channel_id: str, user_id: str, thread_ts: str, text: str) -> None:
        """Post a message in a channel that only one user sees."""
        call = self.web.chat_postEphemeral(
            channel=channel_id, user=user_id, text=text, thread_ts=thread_ts or None
        )
        await _logged(call, "chat.postEphemeral", channel_id=channel_id)

    async def open_view(self, trigger_id: str, view: dict[str, Any]) -> OpenedView | None:
        """Open a modal for the user whose click gave the trigger; None if Slack does not open it."""
        call = self.web.views_open(trigger_id=trigger_id, view=view)
        answer = await _answer_of(call, "views.open", within=_VIEW_SECONDS)
        return _opened(answer) if answer is not None else None

    async def update_view(self, opened: OpenedView, view: dict[str, Any]) -> bool:
        """Replace a modal, unless another one has replaced it already; True if nothing is to be done.

        That counts as done, too: a newer view is there, or the person has closed it.
        """
        call = self.web.views_update(view_id=opened.id, hash=opened.hash or None, view=view)
        return await _logged(call, "views.update", within=_VIEW_SECONDS, well=_VIEW_GONE)

    async def first_messages(self, channel_id: str, thread_ts: str, within: float) -> list[Mapping[str, Any]]:
        """Read the beginning of a thread, oldest first; empty where Slack does not tell it in time."""
        call = self.web.conversations_replies(channel=channel_id, ts=thread_ts, limit=_BEGINNING)
        answer = await _answer_of(call, "conversations.replies", within=within, channel_id=channel_id)
        messages = answer.get("messages") if answer is not None else None
        return [item for item in messages if isinstance(item, Mapping)] if isinstance(messages, list) else []

    async def respond(self, response_url: str, text: str) -> None:
        """Reply to the user alone, through the payload's ``response_url``, if that is an address of Slack."""
        if not is_slacks(response_url, self._api_url):
            log.warning("response url refused", host=str(urlsplit(response_url[:200]).netloc)[:100])
            return
        body = {"text": text, "response_type": "ephemeral", "replace_original": False}
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                status = await self._post_json(response_url, body)
        except TROUBLE as exc:
            log.warning("slack call failed", method="response_url", error=describe_failure(exc))
        else:
            if status != 200:
                log.warning("slack call failed", method="response_url", error=f"HTTP {status}")

    async def _post_json(self, url: str, body: Mapping[str, Any]) -> int:
        """Post once, and again after a 429, where Slack did nothing; return the last status."""
        assert self.web.session is not None  # noqa: S101 - it is open
        proxy = None if is_loopback(url) else self.web.proxy
        for again in reversed(range(_MOST_THROTTLED + 1)):
            async with self.web.session.post(url, json=body, proxy=proxy) as answer:
                if answer.status != 429 or not again:
                    return answer.status
                told = answer.headers.get("Retry-After", "")
            await asyncio.sleep(int(told) if told.isascii() and told.isdecimal() and len(told) < 6 else 1)
        raise AssertionError("unreachable")


async def _logged(
    call: Awaitable[Any],
    method: str,
    *,
    within: float = _CALL_SECONDS,
    well: frozenset[str] = frozenset(),
    **fields: str,
) -> bool:
    """Await a call, log its failure, and return True for success, or an error that is as good."""
    try:
        return await _answered(call, within, method, fields) is not None
    except TROUBLE as exc:
        error = describe_failure(exc)
        if error in well:
            log.info("slack call came too late", method=method, error=error, **fields)
            return True
        log.warning("slack call failed", method=method, error=error, **fields)
        return False


async def _answer_of(call: Awaitable[Any], method: str, *, within: float, **fields: str) -> Any:
    """Await a call, log its failure, and return its response; None for a failure."""
    try:
        return await _answered(call, within, method, fields)
    except TROUBLE as exc:
        log.warning("slack call failed", method=method, error=describe_failure(exc), **fields)
        return None


async def _answered(call: Awaitable[Any], within: float, method: str, fields: Mapping[str, str]) -> Any:
    async with asyncio.timeout(within):
        answer = await call
    if answer.status_code == 200:
        return answer
    log.warning("slack call failed", method=method, error=f"HTTP {answer.status_code}", **fields)
    return None


def _opened(answer: Any) -> OpenedView:
    view = answer.get("view")
    told = view if isinstance(view, Mapping) else {}
    return OpenedView(str(told.get("id") or ""), str(told.get("hash") or ""))


def describe_failure(exc: Exception) -> str:
    """Return Slack's name for the error, or the exception's; its text may quote what we sent."""
    answer = getattr(exc, "response", None)
    # Behind a proxy it may be text, bytes or a list, of which slack_sdk's own `get` raises an error.
    body = answer.data if isinstance(answer, AsyncSlackResponse) else None
    return str((body.get("error") if isinstance(body, dict) else None) or type(exc).__name__)


def _became(exc: Exception) -> Posting:
    """Judge by Slack's name for the error; without one, by whether Slack was reached."""
    answer = getattr(exc, "response", None)
    if isinstance(answer, AsyncSlackResponse) and answer.status_code < 500:
        error = describe_failure(exc)
        if error in OF_INSTALLATION or error in THROTTLING or answer.status_code == 429:
            return "not posted"
        if _NAME.fullmatch(error) and error not in UNCLEAR:
            return "ended"
    return "not posted" if isinstance(exc, aiohttp.ClientConnectorError) else "perhaps"
