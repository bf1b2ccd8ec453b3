"""Server versions with known vulnerabilities. A distribution may have fixed them under an old number."""

from __future__ import annotations

from typing import Final

Numbers = tuple[int, ...]

# CVE-2025-49844, a use after free in Lua scripts: https://redis.io/blog/security-advisory-cve-2025-49844/
_REDIS_FIXED: Final[tuple[Numbers, ...]] = ((7, 2, 11), (7, 4, 6), (8, 0, 4), (8, 2, 2))
# The same, and one that needs no login, fixed in 9.1.2; that of Debian and others may be in older ones too.
_VALKEY_FIXED: Final[tuple[Numbers, ...]] = ((9, 1, 2),)


def numbers_of(version: str) -> Numbers:
    """Parse ``9.1.2`` as numbers, up to the first part that is none."""
    found: list[int] = []
    for part in version.split("."):
        if not part.isdigit():
            break
        found.append(int(part))
    return tuple(found)


def hole_in(kind: str, version: str) -> str | None:
    """Describe the vulnerability of a version; None if none is known."""
    numbers = numbers_of(version)
    fixed = _VALKEY_FIXED if kind == "valkey" else _REDIS_FIXED
    if not numbers or numbers >= fixed[-1]:
        return None
    if any(numbers[:2] == line[:2] and numbers >= line for line in fixed):
        return None
    newest = ".".join(map(str, fixed[-1]))
    return f"{kind} before {newest} has known vulnerabilities in Lua scripts, unless its packager fixed them"
