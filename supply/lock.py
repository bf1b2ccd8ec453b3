"""Write locks/*.txt and constraints.txt from pyproject.toml: ``make lock``.

What is locked stays while pyproject.toml allows it. ``make lock UPGRADE=all`` takes the newest of all,
``make lock UPGRADE="starlette aiohttp"`` the newest of these. The files are good for every platform and every
Python that pyproject.toml allows: they have the hashes of all files of a version, and markers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from supply.locks import CONSTRAINTS, LOCKS, ROOT, Lock, locks, pins, project

_OF_LOCKS: Final = "# Written by `make lock` from pyproject.toml; for `pip install --require-hashes`.\n"
_OF_CONSTRAINTS: Final = (
    "# Written by `make lock`: the versions of locks/dev.txt, for `pip install --constraint`.\n"
)


def uv_arguments(lock: Lock, output: Path, upgrade: Sequence[str]) -> list[str]:
    """Return uv's options that resolve one lock file into ``output``, which holds the versions to keep."""
    words = [] if lock.alone else ["pyproject.toml"]
    for extra in lock.extras:
        words += ["--extra", extra]
    for group in lock.groups:
        words += ["--group", group]
    for name in upgrade:
        words += ["--upgrade"] if name == "all" else ["--upgrade-package", name]
    return [
        *(*words, "--output-file", str(output), "--generate-hashes", "--quiet"),
        *("--universal", "--python-version", project()["project"]["requires-python"].removeprefix(">=")),
        # Neither an index nor a path of the machine that it was made on.
        *("--no-header", "--no-emit-index-url", "--no-emit-find-links", "--annotation-style", "line"),
    ]


def write_locks(upgrade: Sequence[str]) -> None:
    """Resolve all lock files, and only then replace the existing ones."""
    with TemporaryDirectory() as folder:
        written = {lock.name: _resolved(lock, Path(folder), upgrade) for lock in locks()}
    for name, text in written.items():
        (LOCKS / f"{name}.txt").write_text(_OF_LOCKS + text, encoding="utf-8")
    CONSTRAINTS.write_text(constraints(written["dev"]), encoding="utf-8")


def constraints(lock: str) -> str:
    """Return a lock file's versions without hashes, with a marker where a package has several versions."""
    found = list(pins(lock))
    several = Counter(pin.name for pin in found)
    lines = [
        f"{pin.name}=={pin.version}" + (f" ; {pin.marker}" if several[pin.name] > 1 else "") for pin in found
    ]
    return _OF_CONSTRAINTS + "\n".join(lines) + "\n"


def _resolved(lock: Lock, folder: Path, upgrade: Sequence[str]) -> str:
    output = folder / f"{lock.name}.txt"
    # One version of each package in all locks of ours: the first is the largest, and the others follow it.
    first = folder / f"{locks()[0].name}.txt"
    kept = first if first.exists() and not lock.apart else lock.path
    if kept.exists():
        shutil.copy(kept, output)
    newer = upgrade if kept == lock.path else ()
    uv = Path(sys.executable).parent / "uv"
    command = [str(uv), "pip", "compile", *uv_arguments(lock, output, newer)]
    subprocess.run(command, cwd=ROOT, env=_environment(), check=True)
    return output.read_text(encoding="utf-8")


def _environment() -> dict[str, str]:
    """Return our environment, with pip's variable for the index as uv's, which does not read pip's."""
    index = os.environ.get("PIP_INDEX_URL")
    return {**({"UV_DEFAULT_INDEX": index} if index else {}), **os.environ}


if __name__ == "__main__":
    try:
        write_locks(sys.argv[1:])
    except subprocess.CalledProcessError as failed:
        sys.exit(f"Nothing was written: uv ended with {failed.returncode}. Offline, no lock can be made.")
