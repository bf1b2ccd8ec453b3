"""The marker of a thread's ticket: the same for the same thread on the same site, whoever computes it."""

from __future__ import annotations

import base64
import hashlib
from typing import Final
from urllib.parse import urlsplit

_LENGTH: Final = 26
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def marker_of(site: str, channel_id: str, thread_ts: str) -> str:
    """``slk-`` and 130 bits in base32, lower case: a label that Jira accepts and JQL finds exactly."""
    digest = hashlib.sha256("|".join((site, channel_id, thread_ts)).encode()).digest()
    return f"slk-{base64.b32encode(digest).decode()[:_LENGTH].lower()}"


def site_of(url: str) -> str:
    """``host[:port][/path]`` of a Jira URL: one site however its URL is spelt.

    Scheme, case of the host, default port, credentials, trailing slash and query make no difference.
    Raises ``ValueError`` for a port that is none.
    """
    parts = urlsplit(url.strip() if "://" in url else f"https://{url.strip()}")
    host = (parts.hostname or "").lower()
    if ":" in host:
        host = f"[{host}]"
    port = parts.port
    shown = "" if port is None or port == _DEFAULT_PORTS.get(parts.scheme) else f":{port}"
    return f"{host}{shown}{parts.path.rstrip('/')}"
