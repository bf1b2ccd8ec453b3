"""What a person types, as Slack's client sends it: escaped, with mentions and channels as ids. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from worker.text.slack_text import escape

_NAME: Final = re.compile(r"(?<![\w@#])([@#])([A-Za-z0-9_-]+)")


def as_slack_sends(text: str, people: Mapping[str, str], channels: Mapping[str, str]) -> str:
    """Return the text in Slack's notation.

    Args:
        people: ids by name in lower case; ``@ada`` is one in any case.
        channels: ids by name; ``#billing`` is one.
    """

    def named(match: re.Match[str]) -> str:
        sign, name = match.groups()
        known = (people if sign == "@" else channels).get(name.lower())
        return f"<{sign}{known}>" if known else match[0]

    return _NAME.sub(named, escape(text))
