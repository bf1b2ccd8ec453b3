"""The directory on this machine that keeps servers' data: its place, its lock and its secrets."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Final, Literal

from worker.local.failure import DataDirInUse, LocalServiceFailed
from worker.local.sandboxed import Kind
from worker.operate.private_folder import UnsafeFolder, make_private, refuse_foreign, write_private

_KIND: Final = "kind"
_OTHER_KIND: Final = {
    "connected": "{path} has threads of the playground, which must not get tickets in a real Jira; "
    "choose another folder with --data-dir",
    "sandbox": "{path} was used with real settings, and its threads must not get tickets of the sandbox; "
    "choose another folder with --data-dir",
}


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

    def kind(self) -> Kind:
        """Return what the directory was used for, as ``mark`` noted it; reads alone, so it may be in use."""
        with contextlib.suppress(OSError):
            noted = (self.path / _KIND).read_text(encoding="ascii").strip()
            return "sandbox" if noted == "sandbox" else "connected"
        return "unmarked" if (self.path / "postgres").exists() else "new"

    def mark(self, kind: Literal["sandbox", "connected"]) -> None:
        """Note what the directory is used for. Raises ``LocalServiceFailed`` if it is for something else.

        Threads of the playground must not get tickets in a real Jira, nor real threads those of the sandbox.
        """
        noted = self.kind()
        if {noted, kind} == {"sandbox", "connected"}:
            raise LocalServiceFailed(_OTHER_KIND[kind].format(path=self.path))
        write_private(self.path / _KIND, f"{kind}\n")

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
