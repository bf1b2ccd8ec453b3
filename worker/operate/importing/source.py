"""The source of an import: a file, or the output of another program."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from threadsync.errors import InvalidCommand

_STDIN: Final = 0
_READ_AT_ONCE: Final = 1 << 16
_ASK_AGAIN_SECONDS: Final = 0.2


class Source:
    """An open file, or stdin for ``-``. Raises ``InvalidCommand`` if it cannot be opened.

    ``size`` in bytes is None for a stream, which can be read once and from its beginning.
    """

    def __init__(self, path: Path) -> None:
        is_stdin = path == Path("-")
        try:
            self.descriptor = os.dup(_STDIN) if is_stdin else os.open(path, os.O_RDONLY)
        except OSError as exc:
            raise InvalidCommand(f"{path}: {exc.strerror}") from exc
        status = os.fstat(self.descriptor)
        # Stdin may be a file, but the next import would not know which one.
        self.size = status.st_size if stat.S_ISREG(status.st_mode) and not is_stdin else None
        if stat.S_ISDIR(status.st_mode):
            os.close(self.descriptor)
            raise InvalidCommand(f"{path}: is a directory")

    def reader(self, offset: int, stopped: Callable[[], bool]) -> Callable[[], bytes | None]:
        """Return a function that reads what is there at once: b"" at the end, None when ``stopped``."""
        if self.size is not None:
            os.lseek(self.descriptor, offset, os.SEEK_SET)

        def read() -> bytes | None:
            while not stopped():
                # A process that waits in a read does not notice that it should stop.
                if select.select([self.descriptor], [], [], _ASK_AGAIN_SECONDS)[0]:
                    return os.read(self.descriptor, _READ_AT_ONCE)
            return None

        return read

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)
