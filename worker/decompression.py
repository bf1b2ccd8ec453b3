"""Undo compression up to a size: a few hundred bytes of a message may stand for gigabytes.

kombu decompresses a message as soon as it is there, in the worker's main process, and as far as it goes. What
is longer than ``MOST_BYTES`` is an error like any other damage, found without making it: a dead letter with
the bytes that came.

zstd and brotli are known to kombu where they are installed. A brotli that cannot stop at a size (before 1.2)
is refused.
"""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib import import_module
from typing import Any, Final

from kombu import compression

MOST_BYTES: Final = 16 * 1024 * 1024
"""No command of ours is near it. Read as JSON, some twenty times as much memory."""

_ZLIB_OR_GZIP: Final = 32 + zlib.MAX_WBITS
_Decode = Callable[[bytes], bytes]


def bound_decompression() -> None:
    """Put bounded decoders in the place of kombu's. The names that it knows them by stay."""
    compression.register(zlib.compress, _bounded(zlib.decompressobj), "application/x-gzip")
    compression.register(bz2.compress, _bounded(bz2.BZ2Decompressor), "application/x-bz2")
    compression.register(lzma.compress, _bounded(lzma.LZMADecompressor), "application/x-lzma")
    for kind, compress, decode in _installed():
        compression.register(compress, decode, kind)


@cache
def unpackers() -> tuple[_Decode, ...]:
    """Return a decoder for each kind that there is. Each raises an error for what is not packed so."""
    return (
        _bounded(partial(zlib.decompressobj, _ZLIB_OR_GZIP)),
        _bounded(bz2.BZ2Decompressor),
        _bounded(lzma.LZMADecompressor),
        *(decode for _kind, _compress, decode in _installed()),
    )


def _installed() -> Iterator[tuple[str, _Decode, _Decode]]:
    """Yield the kinds that are there only where they are installed, with what packs and unpacks them."""
    known = compression.encoders()
    if (kind := "application/zstd") in known:
        zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
        yield kind, zstd.compress, _bounded(zstd.ZstdDecompressor)
    if (kind := "application/x-brotli") in known:
        brotli = _brotli()
        yield kind, brotli.compress, _bounded(lambda: _Brotli(brotli.Decompressor()))


class _Brotli:
    """brotli's decompressor, which takes a limit and says its end in its own way."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def decompress(self, data: bytes, most: int) -> bytes:
        try:
            found: bytes = self._stream.process(data, output_buffer_limit=most)
        except TypeError:
            raise ValueError("brotli is read from its release 1.2 on") from None
        return found

    @property
    def eof(self) -> bool:
        return bool(self._stream.is_finished())


def _brotli() -> Any:
    # kombu's order.
    try:
        return import_module("brotli")
    except ImportError:
        return import_module("brotlicffi")


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
