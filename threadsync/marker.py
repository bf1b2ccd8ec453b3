"""The marker of a thread's ticket, which is the same for the same thread on the same Jira site."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final
from urllib.parse import urlsplit

_LENGTH: Final = 26
_SPACE: Final = re.compile(r"\s")
_SLASHES: Final = re.compile("/{2,}")
_HOST: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def marker_of(site: str, channel_id: str, thread_ts: str) -> str:
    """Return a label that Jira accepts and JQL finds exactly: ``slk-`` and 130 bits in base32, lower case."""
    digest = hashlib.sha256("|".join((site, channel_id, thread_ts)).encode()).digest()
    return f"slk-{base64.b32encode(digest).decode()[:_LENGTH].lower()}"


def site_of(url: str) -> str:
    """Return ``host[:port][/path]`` of a Jira URL: one site however its URL is spelt.

    Scheme, case of the host, default port, credentials, slashes too many and query make no difference.
    Raises ``ValueError`` for an invalid address.
    """
    return canonical(url).partition("://")[2]


def canonical(url: str) -> str:
    """Return ``scheme://host[:port][/path]``, spelt as by ``site_of``; the scheme is https without one.

    Raises ``ValueError`` for an invalid address.
    """
    text = url.strip()
    if _SPACE.search(text):
        raise ValueError("has a space in it")
    parts = urlsplit(text if "://" in text else f"https://{text}")
    host = _host(parts.hostname or "")
    port = parts.port
    shown = "" if port is None or port == _DEFAULT_PORTS.get(parts.scheme) else f":{port}"
    path = _SLASHES.sub("/", parts.path).rstrip("/")
    return f"{parts.scheme}://{host}{shown}{path}"


def url_of(site: str | None, jira_url: str | None) -> str:
    """Return the URL at which people see the tickets of ``site``: ``JIRA_URL``, unless that is another site.

    Empty where no Jira is known.
    """
    if not jira_url:
        return ""
    if site is None or site == site_of(jira_url):
        return jira_url.rstrip("/")
    return f"https://{site}"


def _host(name: str) -> str:
    """Return the host in lower case, and a name in other letters as DNS has it."""
    if ":" in name:
        return f"[{name.lower()}]"
    if not name.isascii():
        # Of httpx, which sends the requests: Python's own is of 2003, and has another host for `straße`.
        import idna

        name = idna.encode(name, uts46=True).decode()
    name = name.lower().rstrip(".")
    if not _HOST.fullmatch(name):
        raise ValueError("has no host name")
    return name
