"""The bookmark of an import, in a file beside its own: ``FILE.progress``."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from threadsync.errors import InvalidCommand
from worker.operate.importing.lines import Place
from worker.operate.private_folder import write_private

_BEGINNING: Final = 1 << 16
_BEFORE_THE_PLACE: Final = 1 << 12


class Tally(BaseModel):
    """Numbers of lines by outcome; blank ones are not counted."""

    created: int = Field(0, ge=0)
    applied: int = Field(0, ge=0)
    unchanged: int = Field(0, ge=0)
    bad: int = Field(0, ge=0)

    @property
    def lines(self) -> int:
        return self.created + self.applied + self.unchanged + self.bad


class Bookmark(BaseModel):
    """A place before which all lines are committed in ``database``; ``fingerprint`` is the file's."""

    model_config = ConfigDict(frozen=True)

    line: int = Field(ge=0)
    offset: int = Field(ge=0)
    database: str
    fingerprint: str
    tally: Tally

    @property
    def place(self) -> Place:
        return Place(self.line, self.offset)


class Bookmarks:
    """The bookmark of one open file for one database (``host:port/name``)."""

    def __init__(self, path: Path, descriptor: int, database: str) -> None:
        self.path = path.with_name(f"{path.name}.progress")
        self._descriptor = descriptor
        self._database = database

    def save(self, place: Place, tally: Tally) -> None:
        """Write the bookmark atomically: a crash leaves this one or the one before. Raises ``OSError``."""
        bookmark = Bookmark(
            line=place.line,
            offset=place.offset,
            database=self._database,
            fingerprint=self._fingerprint(place.offset),
            tally=tally,
        )
        write_private(self.path, bookmark.model_dump_json(indent=2) + "\n")

    def load(self) -> Bookmark | None:
        """Return the bookmark, or None. Raises ``InvalidCommand`` if it is of another file or database."""
        try:
            bookmark = Bookmark.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as exc:
            raise self._useless("cannot be read") from exc
        if bookmark.database != self._database:
            raise self._useless(f"is about another database, {bookmark.database!a}")
        if bookmark.fingerprint != self._fingerprint(bookmark.offset):
            raise self._useless("is about another file, or this one was changed")
        return bookmark

    def remove(self) -> None:
        """Remove the file: there is nothing left to resume."""
        self.path.unlink(missing_ok=True)

    def _fingerprint(self, offset: int) -> str:
        """Hash the file's beginning and the bytes before the place; the file may have grown behind it."""
        beginning = os.pread(self._descriptor, min(offset, _BEGINNING), 0)
        start = max(0, offset - _BEFORE_THE_PLACE)
        before = os.pread(self._descriptor, offset - start, start)
        return hashlib.sha256(beginning + before).hexdigest()

    def _useless(self, why: str) -> InvalidCommand:
        return InvalidCommand(f"{self.path} {why}; without --resume the import starts again, which is safe")
