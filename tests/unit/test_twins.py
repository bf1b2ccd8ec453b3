"""What exists for threads and for asyncio has the same methods; one suite runs over both stores."""

from __future__ import annotations

import inspect
from typing import Any, Final

import pytest

from threadsync import AsyncHandle, AsyncSessionClient, Handle, SessionClient
from worker.db import AsyncSessionStore, SessionStore

TWINS: Final = [(SessionStore, AsyncSessionStore), (SessionClient, AsyncSessionClient), (Handle, AsyncHandle)]
OF_ASYNCIO: Final = {
    # Its pool is opened in an event loop; the other store has the process's own.
    AsyncSessionStore: {"close"},
    # Socket Mode, which is asyncio code, reports by it.
    AsyncSessionClient: {"tell_socket"},
}


def methods(kind: type[Any]) -> dict[str, str]:
    """Return the public methods and what they take and return."""
    found = {
        name: str(inspect.signature(method)).replace("AsyncHandle", "Handle")
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }
    return {name: text for name, text in found.items() if name not in OF_ASYNCIO.get(kind, ())}


@pytest.mark.parametrize(("one", "other"), TWINS, ids=lambda kind: kind.__name__)
def test_twins_have_the_same_methods(one: type[Any], other: type[Any]) -> None:
    """The same names, arguments, defaults and results."""
    assert methods(one) == methods(other)


@pytest.mark.parametrize(("one", "other"), TWINS[:2], ids=lambda kind: kind.__name__)
def test_twins_say_the_same(one: type[Any], other: type[Any]) -> None:
    """What a method promises is no different."""
    for name in methods(one):
        assert inspect.getdoc(getattr(one, name)) == inspect.getdoc(getattr(other, name)), name
