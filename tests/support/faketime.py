"""Processes whose clock is wrong: Debian's ``faketime``, preloaded; children inherit it."""

from __future__ import annotations

from pathlib import Path

import pytest

_LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))

needs_faketime = pytest.mark.skipif(not _LIBRARIES, reason="needs Debian's package faketime")


def clock_ahead(seconds: float) -> dict[str, str]:
    """Environment of a process whose clock is so far ahead, or behind if negative.

    Its monotonic clock is shifted by as much, in all its children alike, so that waiting takes as long as
    ever: with ``FAKETIME_DONT_FAKE_MONOTONIC`` the kernel refuses what Python's ``sleep`` asks for.
    """
    return {
        "LD_PRELOAD": str(_LIBRARIES[0]),
        "FAKETIME": f"{seconds:+g}s",
        # Else files that it writes would look as if they were of then.
        "NO_FAKE_STAT": "1",
    }
