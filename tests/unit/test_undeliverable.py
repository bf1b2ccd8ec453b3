"""Messages that are too large to be read for their dead letter."""

from __future__ import annotations

import subprocess
import sys

_READ: str = """
import resource
from pathlib import Path
from worker.durable.json_message import has_too_many_parts
from worker.durable.burial import _MOST_READ, _payload

body = b"[" + b'{"a":{}},' * 290_000 + b"{}]"
assert len(body) <= _MOST_READ
assert not has_too_many_parts(body)
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 40 * 1024 * 1024
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
assert _payload(body) is None
assert _payload(b"[1]") == [1]
assert _payload(b"[1" + b" " * _MOST_READ + b"]") is None
assert _payload(b"[" + b"1," * 300_001 + b"1]") is None
"""


def test_what_does_not_fit_into_memory_is_kept_unread() -> None:
    """A body is not parsed for a dead letter if its objects would not fit into the memory."""
    done = subprocess.run([sys.executable, "-c", _READ], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
