"""Progress of an import: kept beside the file, and checked before it is used."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from threadsync.errors import InvalidCommand
from worker.operate.importing.bookmark import Bookmarks, Tally
from worker.operate.importing.lines import Place

LINE = b"x" * 99 + b"\n"
PLACE = Place(line=2000, offset=200_000)
TALLY = Tally(created=1999, bad=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "sessions.jsonl"
    path.write_bytes(LINE * 3000)
    return path


@pytest.fixture
def bookmarks(path: Path) -> Iterator[Bookmarks]:
    with path.open("rb") as file:
        yield Bookmarks(path, file.fileno(), "h:5432/d")


def test_it_comes_back(bookmarks: Bookmarks, path: Path) -> None:
    """A saved bookmark is loaded with place and counts; its file is for its owner alone."""
    assert bookmarks.load() is None
    bookmarks.save(PLACE, TALLY)
    bookmark = bookmarks.load()
    assert bookmark is not None
    assert (bookmark.place, bookmark.tally) == (PLACE, TALLY)
    beside = path.with_name("sessions.jsonl.progress")
    assert beside.stat().st_mode & 0o777 == 0o600
    assert sorted(path.parent.iterdir()) == [path, beside]
    bookmarks.remove()
    bookmarks.remove()
    assert bookmarks.load() is None


def test_it_says_nothing_of_what_stands_in_the_file(bookmarks: Bookmarks, path: Path) -> None:
    """A bookmark has a place, counts and a hash, and no personal data."""
    path.write_bytes(b'{"channel_id": "C0OCELOT", "thread_ts": "1.1", "user_id": "U0OCELOT"}\n')
    bookmarks.save(Place(1, path.stat().st_size), TALLY)
    told = path.with_name("sessions.jsonl.progress").read_text()
    assert "ocelot" not in told.lower()
    assert set(json.loads(told)) == {"line", "offset", "database", "fingerprint", "tally"}


def test_it_leaves_the_reader_where_it_is(bookmarks: Bookmarks, path: Path) -> None:
    """Saving a bookmark leaves the position in the open file where it is."""
    with path.open("rb", buffering=0) as file:
        file.seek(500)
        Bookmarks(path, file.fileno(), "h:5432/d").save(PLACE, TALLY)
        assert file.tell() == 500


def test_a_file_may_grow(bookmarks: Bookmarks, path: Path) -> None:
    """A file that has grown since the bookmark is still the same file."""
    path.write_bytes(LINE)
    bookmarks.save(Place(1, len(LINE)), TALLY)
    path.write_bytes(LINE * 3000)
    assert bookmarks.load() is not None


def change(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), b"y", offset)


@pytest.mark.parametrize(
    "how",
    [
        lambda path: change(path, 0),
        lambda path: change(path, 60_000),
        lambda path: change(path, PLACE.offset - 1),
        lambda path: os.truncate(path, PLACE.offset - 1),
        lambda path: os.truncate(path, 0),
        lambda path: path.write_bytes(LINE * 1000 + b"one more\n" + LINE * 2000),
    ],
    ids=["first byte", "beginning", "last byte", "shorter", "empty", "moved"],
)
def test_another_file_is_noticed(bookmarks: Bookmarks, path: Path, how: object) -> None:
    """A file that was changed before the bookmark's place is refused."""
    bookmarks.save(PLACE, TALLY)
    assert callable(how)
    how(path)
    with pytest.raises(InvalidCommand, match="was changed"):
        bookmarks.load()


def test_another_database_is_noticed(bookmarks: Bookmarks, path: Path) -> None:
    """A bookmark of another database is refused."""
    bookmarks.save(PLACE, TALLY)
    with path.open("rb") as file, pytest.raises(InvalidCommand, match="another database, 'h:5432/d'"):
        Bookmarks(path, file.fileno(), "other:5432/d").load()


@pytest.mark.parametrize("content", [b"", b"{}", b'{"line": -1}', b"\xff", b"[" * 10_000])
def test_what_cannot_be_read_is_refused(bookmarks: Bookmarks, path: Path, content: bytes) -> None:
    """A bookmark that cannot be read is refused, with the advice to import from the start."""
    path.with_name("sessions.jsonl.progress").write_bytes(content)
    with pytest.raises(InvalidCommand, match=r"cannot be read; without --resume .* which is safe"):
        bookmarks.load()
