"""Put what a person types into Slack's notation: escaped, with mentions, channels and links. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from worker.text.slack_text import escape

_TOKEN: Final = re.compile(
    r"(?P<link>https?://(?:(?!&[lg]t;)[^\s|])*(?!&[lg]t;)[^\s|.,:;!?)])|(?<![\w@#])[@#][A-Za-z0-9_-]+"
)
"""An address without the punctuation after it, or a name; in text that is escaped."""


def as_slack_sends(
    text: str, people: Mapping[str, str], channels: Mapping[str, str], groups: Mapping[str, str]
) -> str:
    """Return the text in Slack's notation.

    Args:
        people: ids by name in lower case; ``@ada`` is one in any case.
        channels: ids by name; ``#billing`` is one.
        groups: ids of user groups by name in lower case; ``@helpdesk`` is one in any case.
    """
    found = {f"@{name}": f"@{known}" for name, known in people.items()}
    found |= {f"@{name}": f"!subteam^{known}" for name, known in groups.items()}
    found |= {f"#{name}": f"#{known}" for name, known in channels.items()}

    def marked(match: re.Match[str]) -> str:
        known = match["link"] or found.get(match[0].lower())
        return f"<{known}>" if known else match[0]

    return _TOKEN.sub(marked, escape(text))
