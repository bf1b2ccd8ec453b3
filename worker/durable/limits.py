"""Time limits of a worker. Each must stay below the next one that bounds it."""

from __future__ import annotations

from typing import Final

SEND_SECONDS: Final = 1.5
"""The longest wait for one reply of the broker to what a command sends."""

RESULT_SECONDS: Final = 1.5
"""The longest wait for the result backend; less than the time between the two time limits."""

SOFT_TIME_LIMIT_SECONDS: Final = 6
TIME_LIMIT_SECONDS: Final = 8
"""Hard limit, below the visibility timeout, so that also with kombu's channel nothing runs in two places."""

VISIBILITY_TIMEOUT_SECONDS: Final = 10
"""Silence of a worker after which its messages go to another one."""
