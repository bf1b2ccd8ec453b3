"""Write blocks of text as an Atlassian document: the description of a ticket on Jira Cloud.

https://developer.atlassian.com/cloud/jira/platform/apis/document/structure
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from worker.text.slack_text import Block, Bullets, Code, Line, Quote, Span

Node = dict[str, Any]


def document(blocks: Iterable[Block]) -> Node:
    """Return a whole document, ready to be sent as JSON."""
    return {"type": "doc", "version": 1, "content": [_node(block) for block in blocks]}


def _node(block: Block) -> Node:
    match block:
        case Code(text):
            return {"type": "codeBlock", "content": [{"type": "text", "text": text}]}
        case Bullets(lines):
            items = [{"type": "listItem", "content": [_paragraph([line])]} for line in lines]
            return {"type": "bulletList", "content": items}
        case Quote(lines):
            return {"type": "blockquote", "content": [_paragraph(lines)]}
    return _paragraph(block.lines)


def _paragraph(lines: Iterable[Line]) -> Node:
    content: list[Node] = []
    for number, line in enumerate(lines):
        if number:
            content.append({"type": "hardBreak"})
        content += map(_text, line)
    return {"type": "paragraph", "content": content}


def _text(span: Span) -> Node:
    # Jira refuses code that is bold, too.
    marks: list[Node] = [
        {"type": mark} for mark in (["code"] if "code" in span.marks else sorted(span.marks))
    ]
    if span.href:
        marks.insert(0, {"type": "link", "attrs": {"href": span.href}})
    node: Node = {"type": "text", "text": span.text}
    return {**node, "marks": marks} if marks else node
