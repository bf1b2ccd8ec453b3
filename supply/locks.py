"""The lock files: their places, contents and lines."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent
LOCKS: Final = ROOT / "locks"
CONSTRAINTS: Final = ROOT / "constraints.txt"
_ENTRY: Final = re.compile(r"^(?=[\w.-]+==)", re.MULTILINE)
_PIN: Final = re.compile(r"^([\w.-]+)==([^\s;]+)(?: ; ([^\\\n]+?))?(?: \\)?$", re.MULTILINE)


@dataclass(frozen=True)
class Pin:
    """A version in a lock file; ``marker`` limits it to Pythons and platforms, empty for all."""

    name: str
    version: str
    marker: str


@dataclass(frozen=True)
class Lock:
    """A row of ``[tool.threadsync.locks]``.

    ``alone`` is of groups, without what threadsync needs; ``apart`` is so in an environment of its own,
    where versions may be others.
    """

    name: str
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    alone: bool = False
    apart: bool = False

    @property
    def path(self) -> Path:
        return LOCKS / f"{self.name}.txt"


def project() -> dict[str, Any]:
    """Read pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def locks() -> list[Lock]:
    """Return all lock files, in the order of the table."""
    rows: dict[str, dict[str, Any]] = project()["tool"]["threadsync"]["locks"]
    return [
        Lock(
            name,
            extras=tuple(row.get("extras", ())),
            groups=tuple(row.get("groups", ())),
            alone=row.get("alone", False) or row.get("apart", False),
            apart=row.get("apart", False),
        )
        for name, row in rows.items()
    ]


def pins(text: str) -> Iterator[Pin]:
    """Yield the pinned versions in a lock file's text."""
    for name, version, marker in _PIN.findall(text):
        yield Pin(name, version, marker)


def without_other_platforms(text: str) -> str:
    """Return a lock file's text without versions that the image's Python on Linux does not install."""
    head, *entries = _ENTRY.split(text)
    return head + "".join(entry for entry in entries if _is_for_the_image(next(pins(entry)).marker))


def _is_for_the_image(marker: str) -> bool:
    # Of the tools' environment; the lock files themselves are read without it.
    from packaging.markers import Marker

    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    full = re.findall(r"^FROM python:([\d.]+)", dockerfile, re.MULTILINE)[-1]
    image = {
        "python_version": full.rpartition(".")[0],
        "python_full_version": full,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
    }
    return not marker or Marker(marker).evaluate(image)
