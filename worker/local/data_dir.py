"""The directory on this machine that keeps servers' data: its place, its lock and its secrets."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from pathlib import Path
from types import TracebackType

from worker.local.failure import DataDirInUse, LocalServiceFailed
from worker.operate.private_folder import UnsafeFolder, make_private, refuse_foreign, write_private


def default_data_dir() -> Path:
    """Return ``$XDG_DATA_HOME/threadsync``, or ``~/.local/share/threadsync``, as XDG specifies."""
    home = os.environ.get("XDG_DATA_HOME", "")
    # The specification says to ignore a relative path.
    try:
        base = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "share"
    except RuntimeError:
        base = Path()
    if not base.is_absolute():
        raise LocalServiceFailed("this user has no home folder: set XDG_DATA_HOME, or give --data-dir")
    return base / "threadsync"


class DataDir:
    """A directory that only its owner can enter, held by at most one process at a time.

    The lock is the kernel's (``flock``), so it goes with its holder, however that ended.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._lock: int | None = None

    def acquire(self) -> None:
        """Make the directory and hold it, unless it is held already. Raises ``DataDirInUse``.

        Raises ``LocalServiceFailed`` for one that others could read, have prepared, or replace.
        """
        if self._lock is not None:
            return
        make_own(self.path)
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 32, 0).decode().strip() or "unknown"
            os.close(lock)
            raise DataDirInUse(
                f"{self.path} is in use by process {holder}; stop it, or choose another directory"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock = lock

    def release(self) -> None:
        """Let others hold the directory. The lock file stays: else two processes could lock two files."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def secret(self, name: str) -> str:
        """Return a random word, made at the first call and kept in the file ``name`` of mode 0600."""
        path = self.path / name
        with contextlib.suppress(FileNotFoundError):
            if word := path.read_text(encoding="ascii").strip():
                return word
        word = secrets.token_urlsafe(24)
        write_private(path, word + "\n")
        return word

    def __enter__(self) -> DataDir:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def make_own(path: Path) -> None:
    """Make a folder that only we can enter, or check an existing one. Raises ``LocalServiceFailed``."""
    try:
        make_private(path)
        refuse_foreign(path)
    except (UnsafeFolder, OSError) as exc:
        raise LocalServiceFailed(_sentence(exc)) from exc


def _sentence(exc: Exception) -> str:
    return f"{exc.filename}: {exc.strerror}" if isinstance(exc, OSError) else str(exc)
