"""Processes as in the image: without the sandbox, which is in the checkout and in the wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_HIDE: Final = 'import sys\n\nsys.modules["sandbox"] = None\n'


def python_path_without_sandbox(folder: Path, *more: Path) -> str:
    """A PYTHONPATH on which no Python process finds the sandbox; ``folder`` gets a file for it."""
    # Python imports this module when it starts; what is None in `sys.modules` cannot be imported.
    (folder / "sitecustomize.py").write_text(_HIDE, encoding="utf-8")
    return ":".join(str(path) for path in (folder, *more))
