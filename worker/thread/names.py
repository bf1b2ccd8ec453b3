"""Names in place of Slack's ids, as people read them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from worker.text.slack_text import cleaned, escape
from worker.thread.message import Transcript

_MENTION: Final = re.compile(r"<(@|#|!subteam\^)([A-Z0-9]{2,64})(?:\|([^<>\n]*))?>")
_LONGEST: Final = 80


def with_names(text: str, names: Mapping[str, str]) -> str:
    """Label mentions of people, channels and groups by their names; one without a name stays as it is.

    Args:
        text: in Slack's mrkdwn.
        names: by Slack's id, without ``@`` or ``#``.
    """

    def labelled(found: re.Match[str]) -> str:
        sign, name = found[1], names.get(found[2])
        if name is None:
            return found[0]
        shown = escape(shown_name(name)).replace("|", "\u00a6")
        return f"<{sign}{found[2]}|{'#' if sign == '#' else '@'}{shown}>"

    return _MENTION.sub(labelled, text)


def ids_in(transcript: Transcript) -> Iterator[str]:
    """Yield the Slack ids whose names the text needs, some more than once; authors come first."""
    for message in transcript.messages:
        if message.author_id:
            yield message.author_id
    for message in transcript.messages:
        for found in _MENTION.finditer(message.text):
            if found[1] == "@" or not (found[3] or "").strip():
                yield found[2]


def shown_name(name: str) -> str:
    """Return a name on one line, of at most 80 characters."""
    return " ".join(cleaned(name).split())[:_LONGEST].rstrip() or "unknown"
