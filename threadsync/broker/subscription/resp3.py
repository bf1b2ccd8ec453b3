"""Read RESP3 replies from pieces of bytes, without the payloads of messages. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

_END: Final = b"\r\n"
_LONGEST_LINE: Final = 65_536
_MESSAGE: Final = b"message"


class ProtocolError(Exception):
    """Bytes that are none of the replies expected here."""


class Value(NamedTuple):
    """A string, or None where there is nothing."""

    text: bytes | None


class Refusal(NamedTuple):
    """An error, in the server's words."""

    text: str


class Push(NamedTuple):
    """A message on a channel, or the confirmation of a subscription to it."""

    kind: bytes
    channel: bytes


Reply = Value | Refusal | Push


class Reader:
    """Keeps the bytes of an incomplete reply until the rest has come.

    Args:
        most: bytes of the longest string that is expected.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._buffer = bytearray()
        self._needed = 0
        self._skipped = 0

    def feed(self, data: bytes) -> list[Reply]:
        """Return the replies that are complete now. Raises ``ProtocolError``."""
        if self._skipped:
            skipped = min(self._skipped, len(data))
            self._skipped -= skipped
            data = data[skipped:]
        self._buffer += data
        replies: list[Reply] = []
        start = 0
        while len(self._buffer) - start >= max(self._needed, 1):
            self._needed = 0
            found = self._reply(start)
            if found is None:
                break
            reply, start = found
            replies.append(reply)
            if (beyond := start - len(self._buffer)) > 0:
                self._skipped, start = beyond, len(self._buffer)
        del self._buffer[:start]
        return replies

    def _reply(self, start: int) -> tuple[Reply, int] | None:
        """Return the reply at this place and the place behind it; None if it is incomplete."""
        line = self._line(start)
        if line is None:
            return None
        text, end = line
        kind, rest = text[:1], text[1:]
        if kind == b">":
            return self._push(_number(rest), start, end)
        if kind == b"$":
            found = self._string(rest, start, end)
            return found and (Value(found[0]), found[1])
        if kind == b"_":
            return Value(None), end
        if kind == b"-":
            return Refusal(rest.decode(errors="replace")), end
        raise ProtocolError(f"a reply of the type {kind!r}")

    def _push(self, size: int, start: int, end: int) -> tuple[Reply, int] | None:
        if size != 3:
            raise ProtocolError(f"a push of {size} elements")
        texts: list[bytes] = []
        for _ in range(2):
            line = self._line(end)
            found = line and self._string(line[0][1:], start, line[1])
            if found is None:
                return None
            texts.append(found[0] or b"")
            end = found[1]
        line = self._line(end)
        if line is None:
            return None
        last, end = line
        push = Push(texts[0], texts[1])
        # A payload may be large, and come slowly: it is not waited for.
        return push, end + _number(last[1:]) + len(_END) if push.kind == _MESSAGE else end

    def _string(self, size: bytes, start: int, end: int) -> tuple[bytes | None, int] | None:
        length = _number(size)
        if length < 0:
            return None, end
        if length > self._most:
            raise ProtocolError(f"a string of {length} bytes")
        behind = end + length + len(_END)
        if behind > len(self._buffer):
            # No need to read the beginning again before that.
            self._needed = behind - start
            return None
        return bytes(self._buffer[end : end + length]), behind

    def _line(self, start: int) -> tuple[bytes, int] | None:
        end = self._buffer.find(_END, start, start + _LONGEST_LINE)
        if end >= 0:
            return bytes(self._buffer[start:end]), end + len(_END)
        if len(self._buffer) - start > _LONGEST_LINE:
            raise ProtocolError("a line without an end")
        return None


def _number(digits: bytes) -> int:
    try:
        return int(digits)
    except ValueError:
        raise ProtocolError(f"{digits[:20]!r} in place of a number") from None
