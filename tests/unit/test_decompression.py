"""Decompression of messages up to a size, and no further."""

from __future__ import annotations

import bz2
import lzma
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Final, cast

import pytest
from kombu import compression

from worker.durable.decompression import MOST_BYTES, bound_decompression


def is_known(name: str) -> bool:
    """Return True if kombu knows this compression here."""
    try:
        return bool(compression.get_decoder(name))
    except KeyError:
        return False


def own_error(module: str, name: str) -> tuple[type[Exception], ...]:
    """Return the error of a library that may be installed."""
    try:
        return (getattr(import_module(module), name),)
    except ImportError:
        return ()


DAMAGED: Final[tuple[type[Exception], ...]] = (
    ValueError,
    OSError,
    zlib.error,
    lzma.LZMAError,
    *own_error("backports.zstd", "ZstdError"),
    *own_error("compression.zstd", "ZstdError"),
    *own_error("brotli", "error"),
    *own_error("brotlicffi", "error"),
)


def encoder_of(name: str) -> Callable[[bytes], bytes]:
    """Return kombu's encoder."""
    found: Any = compression.get_encoder(name)
    return cast(Callable[[bytes], bytes], found[0])


KINDS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "zlib": zlib.compress,
    "gzip": zlib.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    # Compressions whose libraries may not be installed.
    **{name: encoder_of(name) for name in ("zstd", "brotli") if is_known(name)},
}


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """Bound decompression as in a worker; restore kombu's own decoders afterwards."""
    # A private table of kombu's, which the stubs do not know.
    decoders: dict[str, object] = vars(compression)["_decoders"]
    before = dict(decoders)
    bound_decompression()
    yield
    decoders.update(before)


@pytest.mark.parametrize("name", KINDS)
def test_what_is_not_too_large_is_as_it_was(name: str) -> None:
    for content in (b"", b"[[], {}, {}]", bytes(MOST_BYTES)):
        assert compression.decompress(KINDS[name](content), name) == content


@pytest.mark.parametrize("name", KINDS)
def test_a_bomb_is_refused_without_being_made(name: str) -> None:
    bomb = KINDS[name](bytes(4 * MOST_BYTES))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="larger than"):
            compression.decompress(bomb, name)
        _now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 3 * MOST_BYTES


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-4], lambda data: b"plain" + data, lambda _: b""],
    ids=["cut", "plain", "empty"],
)
def test_what_is_damaged_is_an_error(name: str, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(DAMAGED):
        compression.decompress(damage(KINDS[name](b"content" * 100)), name)
