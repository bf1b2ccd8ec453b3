"""Merge patches of a channel's context: what JSON one may hold, and how much."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator

_MAX_BYTES: Final = 65_536
_MAX_DEPTH: Final = 32


def _storable(patch: Mapping[str, Any]) -> Mapping[str, Any]:
    """Refuse what Postgres cannot keep as JSON, and what is too much."""
    if _depth(patch) > _MAX_DEPTH:
        raise ValueError(f"is nested deeper than {_MAX_DEPTH} levels")
    try:
        text = json.dumps(patch, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as exc:
        raise ValueError(f"is not a JSON object: {exc}") from exc
    if size > _MAX_BYTES:
        raise ValueError(f"is {size} bytes of JSON; the limit is {_MAX_BYTES}")
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("contains a NUL character")
    return patch


def _plain(patch: Any) -> Any:
    return dict(patch) if isinstance(patch, Mapping) else patch


Patch = Annotated[Mapping[str, Any], BeforeValidator(_plain), AfterValidator(_storable)]
"""An RFC 7396 merge patch of at most 64 KiB."""


def _depth(value: Any) -> int:
    """Count objects and lists inside one another, without recursion: the value may be hostile."""
    depth, level = 0, [value]
    while depth <= _MAX_DEPTH and (containers := [item for item in level if _is_container(item)]):
        depth += 1
        level = [inner for item in containers for inner in _items(item)]
    return depth


def _is_container(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)


def _items(container: Any) -> Iterable[Any]:
    return container.values() if isinstance(container, Mapping) else container
