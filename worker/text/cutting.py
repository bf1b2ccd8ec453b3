"""Cut a text that is too long: between its blocks, or within one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from worker.text.slack_text import Block, Code, Line, Span


def length(blocks: Iterable[Block]) -> int:
    """Count the visible characters, line breaks included. Every block has at least one."""
    return sum(map(_length, blocks))


def first(blocks: Iterable[Block], count: int) -> Iterator[Block]:
    """Yield the first ``count`` characters, as `length` counts them. None of the blocks is empty."""
    for block in blocks:
        size = _length(block)
        if size > count:
            yield from _part(block, count)
            return
        yield block
        count -= size


def _length(block: Block) -> int:
    if isinstance(block, Code):
        return len(block.text)
    return len(block.lines) - 1 + sum(len(span.text) for line in block.lines for span in line)


def _part(block: Block, count: int) -> Iterator[Block]:
    if isinstance(block, Code):
        text = block.text[:count]
        if text.strip():
            yield Code(text)
        return
    lines = list(_lines(block.lines, count))
    while lines and not lines[-1]:
        lines.pop()
    if lines:
        yield replace(block, lines=tuple(lines))


def _lines(lines: Iterable[Line], count: int) -> Iterator[Line]:
    for line in lines:
        kept: list[Span] = []
        for span in line:
            if count <= 0:
                break
            kept.append(replace(span, text=span.text[:count]))
            count -= len(span.text)
        yield tuple(kept)
        count -= 1
        if count <= 0:
            return
