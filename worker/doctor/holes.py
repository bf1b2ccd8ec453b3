"""Servers with known holes. Information: a distribution may have mended its own under the old number."""

from __future__ import annotations

from typing import Final

Numbers = tuple[int, ...]

# CVE-2025-49844, a use after free in Lua scripts: https://redis.io/blog/security-advisory-cve-2025-49844/
_REDIS_MENDED: Final[tuple[Numbers, ...]] = ((7, 2, 11), (7, 4, 6), (8, 0, 4), (8, 2, 2))
# The same, and one that needs no login, mended in 9.1.2; that of Debian and others may be in older ones too.
_VALKEY_MENDED: Final[tuple[Numbers, ...]] = ((9, 1, 2),)


def numbers_of(version: str) -> Numbers:
    """``9.1.2`` as numbers; what is no number ends it."""
    found: list[int] = []
    for part in version.split("."):
        if not part.isdigit():
            break
        found.append(int(part))
    return tuple(found)


def hole_in(kind: str, version: str) -> str | None:
    """What is known of this version, in a sentence; None if nothing is."""
    numbers = numbers_of(version)
    mended = _VALKEY_MENDED if kind == "valkey" else _REDIS_MENDED
    if not numbers or numbers >= mended[-1]:
        return None
    if any(numbers[:2] == line[:2] and numbers >= line for line in mended):
        return None
    newest = ".".join(map(str, mended[-1]))
    return f"{kind} before {newest} has known holes in its Lua scripts, unless who packed it has mended them"
