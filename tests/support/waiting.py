"""Wait for a condition, not for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

_POLL_SECONDS = 0.03


def wait_until(predicate: Callable[[], object], description: str, timeout: float = 10) -> None:
    """Return once ``predicate`` is true; after ``timeout`` seconds AssertionError, naming ``description``."""
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain until {description}")
        time.sleep(_POLL_SECONDS)


async def wait_until_async(
    predicate: Callable[[], Awaitable[object]],
    description: str,
    timeout: float = 10,  # noqa: ASYNC109 - as above
) -> None:
    """Do the same in asyncio."""
    deadline = time.monotonic() + timeout
    while not await predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain until {description}")
        await asyncio.sleep(_POLL_SECONDS)


def let_pass(seconds: float) -> None:
    """Let a fault last so long. tests/unit/test_docs_rules.py lists each use with its reason."""
    time.sleep(seconds)
