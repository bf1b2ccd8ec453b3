"""Wait for a condition, not for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

_SHORTEST, _LONGEST = 0.03, 0.1


def _pause(waited: float) -> float:
    """Return the seconds until the next look: a fiftieth of the wait, since each look costs something."""
    return min(max(_SHORTEST, waited / 50), _LONGEST)


def wait_until(predicate: Callable[[], object], description: str, timeout: float = 10) -> None:
    """Return once ``predicate`` is true; after ``timeout`` seconds AssertionError, naming ``description``."""
    begun_at = time.monotonic()
    while not predicate():
        waited = time.monotonic() - begun_at
        if waited > timeout:
            raise AssertionError(f"waited {timeout:g} s in vain until {description}")
        time.sleep(_pause(waited))


async def wait_until_async(
    predicate: Callable[[], Awaitable[object]],
    description: str,
    timeout: float = 10,  # noqa: ASYNC109 - as above
) -> None:
    """Do the same in asyncio."""
    begun_at = time.monotonic()
    while not await predicate():
        waited = time.monotonic() - begun_at
        if waited > timeout:
            raise AssertionError(f"waited {timeout:g} s in vain until {description}")
        await asyncio.sleep(_pause(waited))


def let_pass(seconds: float) -> None:
    """Let a fault last so long. tests/unit/test_docs_rules.py lists each use with its reason."""
    time.sleep(seconds)
