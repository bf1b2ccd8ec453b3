"""Slack's limits of a modal, and how a text is made to fit. Pure.

https://docs.slack.dev/reference/block-kit
"""

from __future__ import annotations

from typing import Final

MOST_BLOCKS: Final = 100
MOST_OPTIONS: Final = 100
LONGEST_TITLE: Final = 24
LONGEST_OPTION: Final = 75
LONGEST_OPTION_VALUE: Final = 150
LONGEST_LABEL: Final = 2_000
LONGEST_HINT: Final = 2_000
LONGEST_SECTION: Final = 3_000
LONGEST_INPUT: Final = 3_000
LONGEST_METADATA: Final = 3_000
LONGEST_ID: Final = 255
MOST_VIEW: Final = 240_000
"""Characters of a whole view; Slack refuses 250,001."""

FIRST_MOMENT: Final = 1_000_000_000
LAST_MOMENT: Final = 9_999_999_999
"""Unix seconds that a picker of date and time takes: ten digits."""


def size(text: str) -> int:
    """Count UTF-16 units: at least what Slack counts, whichever way it counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, limit: int) -> str:
    """Return the beginning of a text, with an ellipsis where something is missing."""
    if size(text) <= limit:
        return text
    return text.encode("utf-16-le", "surrogatepass")[: 2 * (limit - 1)].decode("utf-16-le", "ignore") + "…"
