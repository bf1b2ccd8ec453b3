"""Name the extra that a process was installed without, in one line, before its imports fail."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def need_extra(extra: str, *modules: str) -> None:
    """End the process unless these modules, which ``extra`` brings, are installed."""
    for module in modules:
        if find_spec(module) is None:
            sys.exit(f"threadsync: {module} is not installed: pip install 'threadsync[{extra}]'")
