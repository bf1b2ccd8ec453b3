"""Both stores as one: a test that is written for the asyncio store runs against the other too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

from worker.db import AsyncSessionStore, SessionStore


class _Awaitable:
    def __init__(self, store: SessionStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method = getattr(self._store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            # In a thread, so that `asyncio.gather` has them compete.
            return await asyncio.to_thread(method, *args, **kwargs)

        return call


def awaitable(store: SessionStore) -> AsyncSessionStore:
    """The sync store with methods to await."""
    return cast(AsyncSessionStore, _Awaitable(store))
