"""Twin classes for threads and for asyncio, which have the same methods."""

from __future__ import annotations

import inspect
from typing import Any, Final

import pytest

from threadsync import AsyncHandle, AsyncSessionClient, Handle, SessionClient
from worker.db import AsyncSessionStore, SessionStore

TWINS: Final = [(SessionStore, AsyncSessionStore), (SessionClient, AsyncSessionClient), (Handle, AsyncHandle)]
OF_ASYNCIO: Final = {
    # The asyncio store opens a pool of its own; the other uses the process's pool.
    AsyncSessionStore: {"close"},
    # Socket Mode, which is asyncio code, reports through this method.
    AsyncSessionClient: {"tell_socket"},
}


def methods(kind: type[Any]) -> dict[str, str]:
    """Return the public methods with their signatures."""
    found = {
        name: str(inspect.signature(method)).replace("AsyncHandle", "Handle")
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }
    return {name: text for name, text in found.items() if name not in OF_ASYNCIO.get(kind, ())}


@pytest.mark.parametrize(("one", "other"), TWINS, ids=lambda kind: kind.__name__)
def test_twins_have_the_same_methods(one: type[Any], other: type[Any]) -> None:
    """Twins have methods of the same names, arguments, defaults and results."""
    assert methods(one) == methods(other)


@pytest.mark.parametrize(("one", "other"), TWINS[:2], ids=lambda kind: kind.__name__)
def test_twins_say_the_same(one: type[Any], other: type[Any]) -> None:
    """Twins document each method in the same words."""
    for name in methods(one):
        assert inspect.getdoc(getattr(one, name)) == inspect.getdoc(getattr(other, name)), name
