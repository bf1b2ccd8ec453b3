"""Both stores as one: a test that is written for the asyncio store runs against the other too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar, cast

import pytest

from threadsync.command import Validated
from threadsync.errors import ThreadsyncError
from worker.db import AsyncSessionStore, SessionStore, pipeline
from worker.db.pool import new_async_pool, new_pool

T = TypeVar("T")

STORES: Final = ("SessionStore", "AsyncSessionStore")
AT_ONCE: Final = "at once"
"""The store whose commands are carried out by their statements for many, where they have one."""


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


class _AtOnce(SessionStore):
    def run(self, command: Validated[T]) -> T:
        [result] = self.run_many([command])
        if isinstance(result, ThreadsyncError):
            raise result
        return result


@asynccontextmanager
async def store_of(kind: str, url: str) -> AsyncIterator[AsyncSessionStore]:
    """Open a store on a database; ``kind`` is one of ``STORES``, or ``AT_ONCE``."""
    if kind == "AsyncSessionStore":
        async with new_async_pool(url, max_size=8) as async_pool:
            yield AsyncSessionStore(async_pool)
        return
    with new_pool(url, max_size=8) as pool, pytest.MonkeyPatch.context() as patch:
        if kind == AT_ONCE:
            patch.setattr(pipeline, "AT_ONCE", 1)
        yield awaitable((_AtOnce if kind == AT_ONCE else SessionStore)(pool))
