"""Keep the last number of a ticket over restarts: the tickets go, but sessions keep their keys."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from sandbox.jira.site import JiraSite

_MARGIN: Final = 10
"""Numbers that are left out after a restart: the last ones may not have been written down."""


class LastNumber:
    """A file with the highest number of a ticket of the site."""

    def __init__(self, path: Path, site: JiraSite) -> None:
        self._path = path
        self._site = site
        self._kept = 0

    def restore(self) -> None:
        """Let the site go on after the number in the file."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            self._kept = int(self._path.read_text(encoding="ascii")) + _MARGIN
            self._site.skip_keys(self._kept)

    def keep(self) -> None:
        """Write the highest number down if it has grown."""
        number = max((issue.number for issue in self._site.issues), default=0)
        if number > self._kept:
            self._kept = number
            self._path.write_text(f"{number}\n", encoding="ascii")
