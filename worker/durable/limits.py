"""Time limits of a worker. Each must stay below the next one that bounds it."""

from __future__ import annotations

from typing import Final

SEND_SECONDS: Final = 1.5
"""The longest wait for one reply of the broker to what a command sends."""

RESULT_SECONDS: Final = 1.5
"""The longest wait for the result backend; below what lies between the two time limits."""

SOFT_TIME_LIMIT_SECONDS: Final = 6
TIME_LIMIT_SECONDS: Final = 8
"""Below the visibility timeout, so that also with kombu's own channel nothing runs in two places."""

VISIBILITY_TIMEOUT_SECONDS: Final = 10
"""A message goes to another worker once its own has been silent for this long."""
