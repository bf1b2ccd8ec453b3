"""HTTP to Slack from the web process: responses have a size limit, and redirects are refused.

No compression is asked for, and none is undone: one chunk of it may stand for gigabytes. An answer that is
compressed all the same is no JSON, and so a failure like any other.
"""

from __future__ import annotations

import re
from typing import Any, Final

import aiohttp
from yarl import URL

from threadsync.hosts import is_loopback

MOST_BYTES: Final = 8_388_608
"""Limit of a response; Slack's are far smaller."""

_SECONDS: Final = 10.0
_OK: Final = 200
_NO_OBJECT: Final = "a successful answer of Slack's is a JSON object; this one is none"
_SLACK: Final = "slack.com"
_HTTPS: Final = 443
_LONGEST_URL: Final = 2_000
_PLAIN: Final = re.compile(r"[!-\[\]-~]+", re.ASCII)
"""Visible ASCII without a backslash, which two libraries read alike."""


def new_session() -> aiohttp.ClientSession:
    """Make a session for Slack's API and response URLs."""
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_refuse_redirect)
    return aiohttp.ClientSession(
        # A connection kept alive may be closed by Slack just when we post, and a post is not repeated.
        connector=aiohttp.TCPConnector(force_close=True),
        timeout=aiohttp.ClientTimeout(total=_SECONDS),
        response_class=_Bounded,
        auto_decompress=False,
        headers={"Accept-Encoding": "identity"},
        trace_configs=[trace],
    )


def is_slacks(url: str, api_url: str) -> bool:
    """Return True for an address that a reply to a user may go to.

    Those are slack.com's hosts and the host of ``api_url``, over https unless loopback. Read as the library
    reads it that will connect.
    """
    if len(url) > _LONGEST_URL or not _PLAIN.fullmatch(url):
        return False
    try:
        place, api = URL(url), URL(api_url.strip())
    except ValueError:
        return False
    host, api_host = (place.raw_host or "").lower(), (api.raw_host or "").lower()
    if not host or place.raw_user is not None or place.raw_password is not None:
        return False
    if is_loopback(str(api)) and is_loopback(str(place)):
        return place.scheme in ("http", "https")
    if host == api_host and place.port == api.port:
        return place.scheme == "https"
    return _is_of_slack_com(place, host)


def _is_of_slack_com(place: URL, host: str) -> bool:
    is_theirs = host == _SLACK or host.endswith(f".{_SLACK}")
    return is_theirs and place.scheme == "https" and place.port == _HTTPS


class _Bounded(aiohttp.ClientResponse):
    """A response that fails as soon as its body is longer than any of Slack's."""

    async def read(self) -> bytes:
        if self._body is None:
            body = bytearray()
            async for part in self.content.iter_any():
                body += part
                if len(body) > MOST_BYTES:
                    self.close()
                    raise aiohttp.ClientPayloadError(f"an answer of more than {MOST_BYTES} bytes")
            self._body = bytes(body)
            self.release()
        return self._body

    async def json(self, **options: Any) -> Any:
        try:
            content = await super().json(**options)
        except RecursionError:
            raise ValueError("the answer is nested too deep") from None
        if self.status == _OK and not isinstance(content, dict):
            raise ValueError(_NO_OBJECT)
        return content

    async def text(self, *arguments: Any, **options: Any) -> str:
        # slack_sdk takes a plain text for an answer, and then asks it for members.
        if self.status == _OK and self.content_type == "text/plain":
            raise ValueError(_NO_OBJECT)
        return await super().text(*arguments, **options)


async def _refuse_redirect(_session: Any, _context: Any, _request: Any) -> None:
    # A redirect would carry our words to any address that the response names.
    raise aiohttp.ClientPayloadError("Slack's address leads to another one")
