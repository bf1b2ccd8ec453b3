"""Numbered lines of a stream of bytes of any size, in blocks of what has already arrived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

LONGEST_LINE: Final = 1 << 20
"""Longest line in bytes. Of a longer one only the beginning is kept, one byte more than this."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Place:
    """A place between two lines: the numbers of lines and of bytes before it."""

    line: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that were read together, without their ends, and the place behind them."""

    lines: list[tuple[int, bytes]]
    end: Place


class Lines:
    """Lines from ``start`` on. ``read`` returns the next bytes, b"" at the end, None to stop before it."""

    def __init__(self, read: Callable[[], bytes | None], start: Place) -> None:
        self._read = read
        self._place = start
        self.exhausted = False

    def __iter__(self) -> Iterator[Block]:
        total, held = self._place.offset, b""
        while chunk := self._read():
            total += len(chunk)
            *whole, rest = (held + chunk).split(b"\n")
            if whole:
                behind = total - len(chunk) + chunk.rindex(b"\n") + 1
                yield self._block(whole, behind)
            # Bounded, however long the line goes on.
            held = rest[: LONGEST_LINE + 1]
        self.exhausted = chunk is not None
        if held and self.exhausted:
            yield self._block([held], total)

    def _block(self, texts: list[bytes], behind: int) -> Block:
        if self._place.offset == 0:
            texts[0] = texts[0].removeprefix(_BYTE_ORDER_MARK)
        numbers = range(self._place.line + 1, self._place.line + 1 + len(texts))
        self._place = Place(numbers[-1], behind)
        return Block(
            [(n, text[: LONGEST_LINE + 1]) for n, text in zip(numbers, texts, strict=True)], self._place
        )
