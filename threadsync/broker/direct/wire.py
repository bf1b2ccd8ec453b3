"""Redis' protocol (RESP 2), as far as publishing needs it: requests, and replies of one line. Pure."""

from __future__ import annotations

from typing import Any, Final

import redis
from redis._parsers import BaseParser

LONGEST_LINE: Final = 65_536
"""Longest reply to wait for: none that we ask for has a hundredth of that."""


def request(*parts: bytes) -> bytes:
    """Return a command with its arguments as bytes."""
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


class Template:
    """A command of which only the last argument differs."""

    def __init__(self, *parts: bytes) -> None:
        self._head = request(*parts, b"").removesuffix(b"$0\r\n\r\n")

    def request(self, last: bytes) -> bytes:
        """Return the command with its last argument as bytes."""
        return b"%b$%d\r\n%b\r\n" % (self._head, len(last), last)


class Replies:
    """Take bytes as they come, and return the replies that are complete."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Any]:
        """Return numbers, texts and, unraised, errors. Raises ``redis.InvalidResponse`` for anything else."""
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        if len(self._rest) > LONGEST_LINE:
            raise redis.InvalidResponse("the broker's reply has no end")
        return [_read(line) for line in lines]


def _read(line: bytes) -> Any:
    code, text = line[:1], line[1:]
    if code == b":" and (text.isdigit() or (text[:1] == b"-" and text[1:].isdigit())):
        return int(text)
    told = text.decode("utf-8", "replace")
    if code == b"+":
        return told
    if code == b"-":
        parse_error: Any = BaseParser.parse_error  # the stubs give no types
        return parse_error(told)
    raise redis.InvalidResponse("the broker's reply is not Redis' protocol")
