"""Read from a channel's context what of its threads goes to their tickets. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, get_args

Include = Literal["link", "text", "files"]
"""The permalink alone; the thread's text, too; or text and files."""

IncludeOf = Callable[[Mapping[str, Any] | None], Include]
"""Reads the setting from a channel's context; None for a channel without one."""

_MEMBER: Final = "threadsync"
_NAMES: Final[tuple[Include, ...]] = get_args(Include)


def include_of(context: Mapping[str, Any] | None) -> Include:
    """Return the member ``threadsync.include``; a missing or invalid one is ``link``."""
    ours = context.get(_MEMBER) if context else None
    value = ours.get("include") if isinstance(ours, Mapping) else None
    for name in _NAMES:
        if name == value:
            return name
    return "link"
