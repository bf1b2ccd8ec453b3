"""Judge to which addresses the bot's token may go. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from threadsync.hosts import is_loopback

# All of the authority is spelt out: no user, no other port, nothing that two parsers could read differently.
_PATH: Final = r"/[!-\[\]-~]*"
_OF_SLACK: Final = re.compile(
    rf"https://(?:[a-z0-9-]{{1,63}}\.){{0,5}}slack\.com(?::443)?{_PATH}", re.I | re.A
)
_REST: Final = re.compile(_PATH, re.A)
_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.A)
_SHOWN: Final = re.compile(rf"https://[a-z0-9.-]+{_PATH}", re.I | re.A)
_LONGEST: Final = 2_000


def may_have_token(url: str, api_url: str) -> bool:
    """Return True for slack.com's hosts over https, and for the host of ``api_url``.

    The latter over https, unless it is this machine. As no redirect is followed, no other host gets it.
    """
    if len(url) > _LONGEST:
        return False
    if _OF_SLACK.fullmatch(url):
        return True
    origin = origin_of(api_url)
    return origin is not None and url.startswith(origin) and _REST.fullmatch(url[len(origin) :]) is not None


def origin_of(url: str) -> str | None:
    """Return ``scheme://host[:port]`` of an address that may have the token; None for another one."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return None
    origin = f"{parts.scheme}://{parts.netloc.lower()}"
    if not _ORIGIN.fullmatch(origin):
        return None
    return origin if parts.scheme == "https" or is_loopback(origin) else None


def is_permalink(url: object, api_url: str) -> bool:
    """Return True for an address that may be shown as the link to a thread; no token goes there."""
    if not isinstance(url, str) or len(url) > _LONGEST:
        return False
    return _SHOWN.fullmatch(url) is not None or may_have_token(url, api_url)
