"""Hooks around each sending, by which a process that is traced lets its traces go on in the worker."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Final, Protocol


class SendHook(Protocol):
    """Return a context manager in which one message is sent; ``headers`` may be added to before that."""

    def __call__(self, task: str, headers: dict[str, Any]) -> AbstractContextManager[object]: ...


HOOKS: Final[list[SendHook]] = []


def add_send_hook(hook: SendHook) -> None:
    """Run ``hook`` around everything that this process's clients send from now on."""
    HOOKS.append(hook)
