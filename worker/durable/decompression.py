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
from contextlib import suppress
from functools import cache, partial
from importlib import import_module
from typing import Any, Final

from kombu import compression

MOST_BYTES: Final = 16 * 1024 * 1024
"""Limit of a decompressed message; our commands are far smaller. Reading it takes 20 times the memory."""

MUCH_BYTES: Final = 1024 * 1024
"""Longer than any command of ours. A worker, which may hold hundreds, opens longer messages one by one."""

_ZLIB_OR_GZIP: Final = 32 + zlib.MAX_WBITS
_Decode = Callable[[bytes], bytes]


def bound_decompression() -> None:
    """Replace kombu's decoders by bounded ones, under the same names."""
    compression.register(zlib.compress, _Bounded(zlib.decompressobj), "application/x-gzip")
    compression.register(bz2.compress, _Bounded(bz2.BZ2Decompressor), "application/x-bz2")
    compression.register(lzma.compress, _Bounded(lzma.LZMADecompressor), "application/x-lzma")
    for kind, compress, decode in _installed():
        compression.register(compress, decode, kind)


@cache
def unpackers() -> tuple[_Decode, ...]:
    """Return a decoder for each kind of compression; it raises an error for data of another kind."""
    return (
        _Bounded(partial(zlib.decompressobj, _ZLIB_OR_GZIP)),
        _Bounded(bz2.BZ2Decompressor),
        _Bounded(lzma.LZMADecompressor),
        *(decode for _kind, _compress, decode in _installed()),
    )


def _installed() -> Iterator[tuple[str, _Decode, _Decode]]:
    """Yield the optional kinds of compression that are installed, each with its encoder and decoder."""
    known = compression.encoders()
    if (kind := "application/zstd") in known:
        zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
        yield kind, zstd.compress, _Bounded(zstd.ZstdDecompressor)
    if (kind := "application/x-brotli") in known:
        brotli = _brotli()
        yield kind, brotli.compress, _Bounded(lambda: _Brotli(brotli.Decompressor()))


class _Brotli:
    """Adapter that gives brotli's decompressor the methods of the standard ones."""

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


class _Bounded:
    """A decoder for kombu that refuses more than ``MOST_BYTES`` of output."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __call__(self, data: bytes) -> bytes:
        stream = self._make()
        found: bytes = stream.decompress(data, MOST_BYTES + 1)
        if len(found) > MOST_BYTES:
            raise ValueError(f"decompressed, the message is larger than {MOST_BYTES} bytes")
        if not stream.eof:
            raise ValueError("the compressed message is cut off")
        return found

    def gives_more_than(self, most: int, data: bytes) -> bool:
        """Return True if the data stand for more bytes; malformed data count as fewer."""
        with suppress(Exception):
            return len(self._make().decompress(data, most + 1)) > most
        return False


def opens_to_much(body: Any, kind: Any) -> bool:
    """Return True if a message's compressed body stands for more than ``MUCH_BYTES``."""
    if not isinstance(kind, str) or not isinstance(body, bytes):
        return False
    decode: Any = None
    with suppress(KeyError):
        decode = compression.get_decoder(kind)
    return isinstance(decode, _Bounded) and decode.gives_more_than(MUCH_BYTES, body)
