"""Attack a web process's port, at the lowest priority.

``python -m benchmarks.flood KIND HOST PORT CLIENTS SECONDS``. Each client of a kind does one thing over and
over, and comes again when it is thrown out.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from handlers.connections import raise_descriptor_limit

_LOWEST_PRIORITY: Final = 19
_MEBIBYTE: Final = 1_048_576
_HEAD: Final = b"POST /slack/events HTTP/1.1\r\nHost: x\r\n"
_AGAIN_SECONDS: Final = 0.05
Attack = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _shaped() -> bytes:
    """Make headers that could be Slack's."""
    timestamp = int(time.time())
    return f"X-Slack-Request-Timestamp: {timestamp}\r\nX-Slack-Signature: v0={'0' * 64}\r\n".encode()


async def _unsigned(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + b"Content-Length: %d\r\n\r\n" % _MEBIBYTE + b"x" * _MEBIBYTE)
    await reader.read()


async def _forged(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + _shaped() + b"Content-Length: %d\r\n\r\n" % _MEBIBYTE + b"x" * _MEBIBYTE)
    await reader.read(1)


async def _half_a_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + b"X-More: ")
    await reader.read()


async def _half_a_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + _shaped() + b"Content-Length: %d\r\n\r\n" % _MEBIBYTE + b"x" * (_MEBIBYTE - 1))
    await reader.read()


async def _half_a_small_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + _shaped() + b"Content-Length: 16000\r\n\r\n" + b"x" * 15_000)
    await reader.read()


async def _half_a_word(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a part of a body, and keep silent."""
    writer.write(_HEAD + _shaped() + b"Content-Length: 10\r\n\r\n123")
    await reader.read()


async def _nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + _shaped() + b"Content-Length: 9000\r\n\r\n")
    await _drop_by_drop(reader, writer)


async def _drip_a_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + b"X-More: ")
    await _drop_by_drop(reader, writer)


async def _drop_by_drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while not reader.at_eof() and not writer.is_closing():
        writer.write(b"x")
        with suppress(TimeoutError):
            await asyncio.wait_for(reader.read(4096), 1)


async def _readyz(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        if not await reader.read(4096):
            return
        await asyncio.sleep(0.5)


async def _hoard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        if not await reader.read(4096):
            return
        await asyncio.sleep(4)


async def _pipeline(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send thousands of requests at once, and read no response."""
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 5_000)
    await writer.drain()
    await asyncio.sleep(5)


async def _many_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + b"a:\r\n" * 10_000 + b"\r\n")
    await reader.read()


async def _many_headers_behind(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a long head behind another request."""
    first = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    writer.write(first + b"\r\n" + first + b"a:\r\n" * 4_000 + b"\r\n")
    await reader.read()


async def _chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send chunks of one byte each, without an end."""
    writer.write(_HEAD + _shaped() + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 20_000)
    await reader.read(1)


async def _large_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + _shaped() + b"Transfer-Encoding: chunked\r\n\r\n")
    await _in_pieces(writer, b"8000\r\n" + b"x" * 32_768 + b"\r\n")
    await reader.read(1)


async def _in_pieces(writer: asyncio.StreamWriter, piece: bytes) -> None:
    for _ in range(64):
        writer.write(piece)
        await writer.drain()


async def _expect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + _shaped() + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % _MEBIBYTE)
    await reader.read()


async def _websocket(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(
        b"GET /slack/events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await reader.read()


async def _form(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a form to the console without an end."""
    writer.write(
        b"POST /console/sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    await _in_pieces(writer, b"8000\r\n" + b"name=" + b"x" * 32_763 + b"\r\n")
    await reader.read(1)


ATTACKS: Final[dict[str, Attack]] = {
    "unsigned": _unsigned,
    "forged": _forged,
    "half_a_head": _half_a_head,
    "half_a_body": _half_a_body,
    "half_a_small_body": _half_a_small_body,
    "half_a_word": _half_a_word,
    "nothing": _nothing,
    "drip": _drip,
    "drip_a_head": _drip_a_head,
    "readyz": _readyz,
    "hoard": _hoard,
    "pipeline": _pipeline,
    "many_headers": _many_headers,
    "many_headers_behind": _many_headers_behind,
    "chunks": _chunks,
    "large_chunks": _large_chunks,
    "expect": _expect,
    "websocket": _websocket,
    "form": _form,
}


async def _client(attack: Attack, host: str, port: int) -> None:
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(host, port, limit=65_536)
            try:
                await attack(reader, writer)
            finally:
                # What was not sent yet would keep it open.
                writer.transport.abort()
        await asyncio.sleep(_AGAIN_SECONDS)


async def flood(attack: Attack, host: str, port: int, clients: int, seconds: float) -> None:
    """Attack for so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(_client(attack, host, port))


def main() -> None:
    """Run the attack that the command line names."""
    kind, host, port, clients, seconds = sys.argv[1:]
    # A write to a connection that was closed is no news here.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    os.nice(_LOWEST_PRIORITY)
    raise_descriptor_limit()
    asyncio.run(flood(ATTACKS[kind], host, int(port), int(clients), float(seconds)))


if __name__ == "__main__":
    main()
