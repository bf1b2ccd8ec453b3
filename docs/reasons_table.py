"""Write the table of reasons into docs/understand/tickets.md: ``python docs/reasons_table.py``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from threadsync.reasons import REASONS

PAGE: Final = Path(__file__).parent / "understand" / "tickets.md"
_ROW: Final = re.compile(r"^\| `(\w+)` \| ([^|]*) \| [^|]* \|$", re.MULTILINE)


def with_words(text: str) -> str:
    """Return the page's text with each reason's words as the code has them."""
    return _ROW.sub(
        lambda row: f"| `{row[1]}` | {row[2]} | {_words(row[1])} |" if row[1] in REASONS else row[0], text
    )


def _words(reason: str) -> str:
    first, *rest = REASONS[reason]
    return f"{first.upper()}{''.join(rest)}"


if __name__ == "__main__":
    PAGE.write_text(with_words(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
