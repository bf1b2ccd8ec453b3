"""Folders in memory, for data that no test keeps: a file made there costs a third of one on a disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/dev/shm")
_ENOUGH_BYTES: Final = 2 << 30
_PREFIX: Final = "threadsync-tests-"


@contextmanager
def memory_folder(otherwise: Path) -> Iterator[Path]:
    """Yield a new folder in memory, deleted afterwards; ``otherwise`` where there is too little memory."""
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _ENOUGH_BYTES:
        yield otherwise
        return
    _delete_leftovers()
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=_MEMORY) as folder:
        yield Path(folder)


def _delete_leftovers() -> None:
    """Delete the folders of processes that were killed."""
    for folder in _MEMORY.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)
