"""Give the memory of large buffers back to the system as soon as they are not used any more.

A worker takes many messages in one piece. glibc gets the memory for a buffer of 128 KiB from the system, but
once one was freed it keeps what later ones of that size had, for good and in each process: mallopt(3),
``M_MMAP_THRESHOLD``.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_LARGE_BYTES: Final = 128 * 1024
_OPERATORS: Final = "MALLOC_MMAP_THRESHOLD_"


def give_large_buffers_back() -> None:
    """Tell glibc, for this process and those that are forked from it; other libraries do so by themselves."""
    if _OPERATORS in os.environ:
        return
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
