"""Draw docs/img/thread.svg from the blocks that Slack gets: ``python docs/thread_picture.py``."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape, unescape
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from handlers.replies import opened_blocks
from threadsync.syncs import SyncState
from worker.status_message.describe import describe

PICTURE: Final = Path(__file__).parent / "img" / "thread.svg"
JIRA: Final = "https://example.atlassian.net"
THEN: Final = datetime(2026, 1, 5, 9, 42, tzinfo=UTC)

Blocks = Sequence[Mapping[str, Any]]

WIDTH: Final = 760
_LINE: Final = 20
_LETTERS: Final = 84
_STYLE: Final = """
text { font: 14px system-ui, sans-serif; fill: #1d1c1d; }
.name, .bold { font-weight: 700; }
.note { fill: #616061; font-size: 12px; }
.link { fill: #1264a3; font-weight: 400; }
.page { fill: #ffffff; stroke: #dddddd; }
.button { fill: none; stroke: #8a898b; }
.bar { fill: #dddddd; }
@media (prefers-color-scheme: dark) {
  text { fill: #d1d2d3; }
  .note { fill: #9a9b9e; }
  .link { fill: #5ab0e8; }
  .page { fill: #1a1d21; stroke: #35373b; }
  .bar { fill: #4a4d52; }
}
"""


def sync(state: str, **fields: Any) -> SyncState:
    """Return a sync of the thread in the picture."""
    known = {
        "session_id": UUID(int=1),
        "channel_id": "C0123",
        "thread_ts": "1700000000.000100",
        "state": state,
        "parked": False,
        "attempts": 1,
        "duplicates": (),
        **dict.fromkeys(("reason", "next_attempt_at", "jira_key", "origin")),
        "requested_at": THEN,
        "updated_at": THEN,
    }
    return SyncState.model_validate({**known, **fields})


def status_message() -> list[tuple[str, Blocks]]:
    """Return the texts of the status message, state by state, with a note on each."""
    states = [
        ("at first", sync("pending")),
        ("edited: Jira did not respond", sync("unknown", reason="no_answer", next_attempt_at=THEN)),
        ("or: it needs attention", sync("blocked", reason="no_project")),
        ("in the end", sync("done", jira_key="PROJ-123", origin="created")),
    ]
    return [(note, describe(one, JIRA).blocks) for note, one in states]


def picture() -> str:
    """Return the whole SVG."""
    drawn: list[str] = []
    y = _message(drawn, 24, "Ann", "09:40", _text("@threadsync can we get a ticket for this?"))
    y = _message(drawn, y, "threadsync", "09:40", opened_blocks("1700000000.000100", makes_tickets=True))
    drawn.append(_at(24, y + 6, "note", "One status message follows; it is edited as the ticket moves on:"))
    y += 22
    for note, blocks in status_message():
        top = y
        y = _message(drawn, y, "threadsync", note, blocks, x=44)
        drawn.append(f'<rect class="bar" x="24" y="{top}" width="4" height="{y - top - 12}" rx="2"/>')
    size = f'width="{WIDTH}" height="{y + 8}" viewBox="0 0 {WIDTH} {y + 8}"'
    page = f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{y + 7}" rx="8"/>'
    title = "<title>A Slack thread with the status message of its ticket</title>"
    body = "\n".join(drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n'
        f"{title}\n<style>{_STYLE}</style>\n{page}\n{body}\n</svg>\n"
    )


def _text(words: str) -> Blocks:
    return [{"type": "section", "text": {"text": words}}]


def _message(drawn: list[str], y: int, name: str, note: str, blocks: Blocks, x: int = 24) -> int:
    """Draw a message at ``y`` and return where the next one begins."""
    head = f'<tspan class="name">{escape(name)}</tspan><tspan class="note" dx="8">{escape(note)}</tspan>'
    drawn.append(f'<text x="{x}" y="{y + 14}">{head}</text>')
    y += 14 + _LINE
    for block in blocks:
        if block["type"] == "section":
            for line in _lines(block["text"]["text"]):
                drawn.append(f'<text x="{x}" y="{y}">{line}</text>')
                y += _LINE
        else:
            labels = [element["text"]["text"] for element in block["elements"]]
            for label in labels:
                width = 24 + 8 * len(label)
                drawn.append(
                    f'<rect class="button" x="{x}" y="{y - 12}" width="{width}" height="26" rx="4"/>'
                )
                drawn.append(_at(x + 12, y + 6, "bold", label))
            y += 18 + _LINE
    return y + 6


def _at(x: int, y: int, style: str, words: str) -> str:
    return f'<text class="{style}" x="{x}" y="{y}">{escape(words)}</text>'


def _lines(mrkdwn: str) -> Iterator[str]:
    """Return the lines of a text as SVG: links and dates by their words, bold where Slack has it bold."""
    plain = re.sub(r"<!date[^|]*\|([^>]*)>", r"\1", mrkdwn)
    plain = re.sub(r"<[^|>]*\|([^>]*)>", "\x01\\g<1>\x02", plain)
    bold = False
    for line in textwrap.wrap(unescape(plain), _LETTERS):
        pieces = line.split("*")
        spans = []
        for place, piece in enumerate(pieces):
            words = escape(piece).replace("\x01", '<tspan class="link">').replace("\x02", "</tspan>")
            spans.append(f'<tspan class="bold">{words}</tspan>' if bold and words else words)
            bold ^= place < len(pieces) - 1
        yield "".join(spans)


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
