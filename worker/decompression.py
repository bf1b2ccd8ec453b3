"""Undo compression up to a size: a few hundred bytes of a message may stand for gigabytes.

kombu decompresses a message as soon as it is there, in the worker's main process, and as far as it goes. What
is longer than ``MOST_BYTES`` is an error like any other damage, found without making it: a dead letter with
the bytes that came.

Only what Python brings itself. zstd and brotli are known to kombu where somebody has installed them; what
ends a process through one of these is counted (ADR 15).
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any, Final

from kombu import compression

MOST_BYTES: Final = 16 * 1024 * 1024
"""No command of ours is near it. Read as JSON, some twenty times as much memory."""

_Decode = Callable[[bytes], bytes]


def bound_decompression() -> None:
    """Put bounded decoders in the place of kombu's. The names that it knows them by stay."""
    compression.register(zlib.compress, _bounded(zlib.decompressobj), "application/x-gzip")
    compression.register(bz2.compress, _bounded(bz2.BZ2Decompressor), "application/x-bz2")
    compression.register(lzma.compress, _bounded(lzma.LZMADecompressor), "application/x-lzma")


def _bounded(make: Callable[[], Any]) -> _Decode:
    def decode(data: bytes) -> bytes:
        return _decompressed(make, data)

    return decode


def _decompressed(make: Callable[[], Any], data: bytes) -> bytes:
    stream = make()
    found: bytes = stream.decompress(data, MOST_BYTES + 1)
    if len(found) > MOST_BYTES:
        raise ValueError(f"decompressed, the message is larger than {MOST_BYTES} bytes")
    if not stream.eof:
        raise ValueError("the compressed message is cut off")
    return found
