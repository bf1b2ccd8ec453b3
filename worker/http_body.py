"""Read the body of an HTTP answer up to a size that holds for what comes out of its compression.

httpx undoes gzip, brotli and zstd a chunk at a time and as far as each goes: 64 kB of them may stand for
gigabytes. So only gzip is asked for, and undone here. Whatever else comes is passed on as it is: no JSON.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx

HEADERS: Final = {"Accept-Encoding": "gzip"}
"""For each request whose answer is read here."""

_AT_ONCE: Final = 1_048_576
_GZIP: Final = frozenset({"gzip", "x-gzip"})
_WITH_GZIPS_HEADER: Final = 16 + zlib.MAX_WBITS


async def read_body(response: httpx.Response, most: int) -> tuple[bytes, bool]:
    """Return the body and True, or its first ``most`` bytes and False; the rest is left unread.

    Raises ``httpx.DecodingError`` for gzip that is none.
    """
    body = bytearray()
    async for part in _parts(response):
        body += part[: most + 1 - len(body)]
        if len(body) > most:
            return bytes(body[:most]), False
    return bytes(body), True


async def _parts(response: httpx.Response) -> AsyncIterator[bytes]:
    if response.is_stream_consumed:
        # Of a transport that has it in memory, as those of tests do.
        yield response.content
        return
    stream: Any = None
    if response.headers.get("Content-Encoding", "").strip().lower() in _GZIP:
        stream = zlib.decompressobj(_WITH_GZIPS_HEADER)
    async for part in response.aiter_raw():
        if stream is None:
            yield part
            continue
        try:
            while part and not stream.eof:
                yield stream.decompress(part, _AT_ONCE)
                part = stream.unconsumed_tail
        except zlib.error as exc:
            raise httpx.DecodingError(str(exc), request=response.request) from exc
