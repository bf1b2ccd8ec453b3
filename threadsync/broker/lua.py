"""Beginnings of the Lua scripts that run in the broker, and the keys that clients look at."""

from __future__ import annotations

from typing import Final

WAITING: Final = "threadsync.waiting:"
"""Before the queue's name: the key of what waits for its time."""

DRAINS: Final = "#!lua flags=allow-oom\n"
"""The first line of a script that workers run."""

READS: Final = "#!lua flags=no-writes\n"
"""The first line of a script that only looks: it is answered whatever the server refuses."""

ASK: Final = "#!lua\nreturn 1"
"""Does nothing, and is refused whenever a producer would be: the answer is the reason."""
