"""Write blocks of text as plain text: the attachment with the whole thread. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from worker.text.slack_text import Block, Bullets, Code, Line, Quote, Span


def plain(blocks: Iterable[Block]) -> str:
    """Return the blocks' text, an address behind the text of its link."""
    return "\n".join(map(_block, blocks))


def _block(block: Block) -> str:
    match block:
        case Code(text):
            return text
        case Bullets(lines):
            return "\n".join(f"- {_line(line)}" for line in lines)
        case Quote(lines):
            return "\n".join(f"> {_line(line)}" for line in lines)
    return "\n".join(map(_line, block.lines))


def _line(line: Line) -> str:
    return "".join(map(_span, line))


def _span(span: Span) -> str:
    is_shown = span.href is None or span.href in (span.text, f"mailto:{span.text}", f"tel:{span.text}")
    return span.text if is_shown else f"{span.text} ({span.href})"
