"""Imports of the console: a broker's libraries come only with a decision that needs them."""

from __future__ import annotations

import subprocess
import sys


def test_the_console_loads_no_broker_library() -> None:
    """The console, imported in a process of its own, loads no broker library."""
    loaded = "sorted({name.partition('.')[0] for name in sys.modules} & {'kombu', 'celery', 'redis'})"
    code = f"import sys, console.app; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
