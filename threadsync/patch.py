"""Limits of JSON that clients send: merge patches of a channel's context, and the fields of a draft."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator

_MAX_BYTES: Final = 65_536
_MAX_DEPTH: Final = 32
_CONTAINERS: Final = (Mapping, list, tuple)


def storable(patch: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a JSON object. Raises ``ValueError`` if Postgres cannot keep it, or it is too large."""
    if depth_of(patch, _MAX_DEPTH) > _MAX_DEPTH:
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


Patch = Annotated[Mapping[str, Any], BeforeValidator(_plain), AfterValidator(storable)]
"""An RFC 7396 merge patch of at most 64 KiB."""


def depth_of(value: Any, most: int) -> int:
    """Count objects and lists inside one another, at most one more than ``most``.

    Without recursion: the value may be hostile.
    """
    depth, level = 0, [value]
    while depth <= most and (containers := [each for each in level if isinstance(each, _CONTAINERS)]):
        depth += 1
        level = [
            item for each in containers for item in (each.values() if isinstance(each, Mapping) else each)
        ]
    return depth
