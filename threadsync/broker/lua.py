"""First lines of the Lua scripts that run in the broker, and a key that clients look at."""

from __future__ import annotations

from typing import Final

WAITING: Final = "threadsync.waiting:"
"""Prefix of the key that holds a queue's delayed messages."""

DRAINS: Final = "#!lua flags=allow-oom\n"
"""The first line of a script that workers run."""

READS: Final = "#!lua flags=no-writes\n"
"""The first line of a script that only reads, which a full server runs too."""

ASK: Final = "#!lua\nreturn 1"
"""A script that does nothing, but is refused whenever a producer is; the error tells why."""
