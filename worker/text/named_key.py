"""Read which ticket a person names: by its key, or by its address. Pure.

People copy what the browser shows; Slack puts it into ``<…>``, with a label or without.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from threadsync.marker import site_of

_KEY: Final = re.compile(r"[A-Z][A-Z0-9_]{0,49}-[1-9][0-9]{0,12}", re.ASCII)
_ANGLES: Final = re.compile(r"<([^<>|]*)(?:\|[^<>]*)?>")
_LONGEST: Final = 2_000
_AROUND: Final = " \t\n*_~`'\"“”\u2018\u2019()[]{}.,;:!?"
"""Marks and punctuation that a key or an address neither begins nor ends with."""

_IN_QUERY: Final = ("selectedIssue", "issueKey", "issue")


class OtherSite(ValueError):
    """The address belongs to another Jira."""


def without_angles(text: str) -> str:
    """Replace ``<address>`` and ``<address|label>`` by the address alone."""
    return _ANGLES.sub(lambda found: found[1], text).replace("&amp;", "&")


def named_key(text: str, jira_url: str | None = None) -> str | None:
    """Find the key in ``PROJ-1`` or an address such as ``https://site/browse/PROJ-1``, or None.

    Raises ``OtherSite`` for an address that does not begin as ``jira_url`` does, where that is known.
    """
    text = without_angles(text.strip()[:_LONGEST]).strip(_AROUND)
    if key := _as_key(text):
        return key
    try:
        text = text if "://" in text or "/" not in text else f"https://{text}"
        parts = urlsplit(text)
        is_address = parts.scheme.lower() in ("http", "https") and bool(parts.hostname)
        key = next(_keys_in(parts), None) if is_address else None
        is_ours = key is None or jira_url is None or _host_of(text) == _host_of(jira_url)
    except ValueError:
        return None
    if not is_ours:
        raise OtherSite
    return key


def _keys_in(parts: SplitResult) -> Iterator[str]:
    """Yield the keys of an address, first the one that its query selects, then the path's from its end."""
    query = parse_qs(parts.query)
    named = [value for name in _IN_QUERY for value in query.get(name, ())]
    segments = [unquote(segment) for segment in reversed(parts.path.split("/"))]
    for word in (*named, *segments):
        if key := _as_key(word):
            yield key


def _as_key(word: str) -> str | None:
    # `upper` makes two letters of some: a key has the ones that were written.
    key = word.upper() if word.isascii() else word
    return key if _KEY.fullmatch(key) else None


def _host_of(url: str) -> str:
    return site_of(url).partition("/")[0]
