"""Write blocks of text in Jira's wiki notation: the description of a ticket on Jira Data Center.

https://jira.atlassian.com/secure/WikiRendererHelpAction.jspa?section=all
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from worker.text.slack_text import Block, Bullets, Code, Line, Mark, Quote, Span

_SIGNS: Final[dict[Mark, str]] = {"strong": "*", "em": "_", "strike": "-"}

# A hyphen between letters, a question mark that is alone and so on mean nothing, and stay readable as source.
_SPECIAL: Final = re.compile(
    r"[{}\[\]|*_^~+!\\]|(?<!\w)-|-(?!\w)|\?(?=\?)|(?<=\?)\?|^#|&(?=#?\w+;)|(?<=^h[1-6])\.|(?<=^bq)\."
)
_NO_BACKSLASH: Final = {"\\": "&#92;", "&": "&amp;", ".": "&#46;"}
_FENCE: Final = "{noformat}"
_INVISIBLE: Final = "\u200b"


def wiki(blocks: Iterable[Block]) -> str:
    """Return blocks with an empty line between them."""
    return "\n\n".join(map(_block, blocks))


def _block(block: Block) -> str:
    match block:
        case Code(text):
            # Nothing is escaped in there, and nothing can be: only the fence itself has to be broken up.
            return f"{_FENCE}\n{text.replace(_FENCE, '{' + _INVISIBLE + _FENCE[1:])}\n{_FENCE}"
        case Bullets(lines):
            return "\n".join(f"* {_line(line)}" for line in lines)
        case Quote(lines):
            return "{quote}\n" + "\n".join(map(_line, lines)) + "\n{quote}"
    return "\n".join(map(_line, block.lines))


def _line(line: Line) -> str:
    return "".join(map(_span, line)).lstrip()


def _span(span: Span) -> str:
    if span.href:
        address = quote(span.href, safe="!#$%&'()*+,/:;=?@~-._")
        text = f"[{address}]" if span.text == span.href else f"[{_escaped(span.text)}|{address}]"
    else:
        text = _escaped(span.text)
    if "code" in span.marks:
        return "{{" + text + "}}"
    for mark, sign in _SIGNS.items():
        if mark in span.marks:
            text = f"{{{sign}}}{text}{{{sign}}}"
    return text


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: _NO_BACKSLASH.get(found[0], "\\" + found[0]), text)
