"""Slack threads for the benchmark's commands."""

from __future__ import annotations

from typing import Final, LiteralString, NamedTuple

_CHANNELS: Final = 100

# The first so many threads of `threads` as rows that are there already.
INSERT_THREADS: Final[LiteralString] = """
INSERT INTO thread_sessions (channel_id, thread_ts, user_id)
SELECT 'CBENCH' || n %% 100, (1700000000 + n) || '.000100', 'UBENCH' FROM generate_series(0, %s - 1) AS n
"""


class SlackThread(NamedTuple):
    """The arguments of a ``get_or_create``."""

    channel_id: str
    thread_ts: str
    user_id: str

    def parameters(self) -> dict[str, str | None]:
        """Return the parameters of the command's statement."""
        return {**self._asdict(), "actor": None}


def threads(first: int, count: int) -> list[SlackThread]:
    """Make threads from number ``first`` on; the same number is the same thread."""
    return [_thread(number) for number in range(first, first + count)]


def known_threads(sessions: int, count: int) -> list[SlackThread]:
    """Pick so many of the first ``sessions`` threads, evenly spread; some twice when there are fewer."""
    stride = max(sessions // count, 1)
    return [_thread(place * stride % sessions) for place in range(count)]


def _thread(number: int) -> SlackThread:
    return SlackThread(f"CBENCH{number % _CHANNELS}", f"{1_700_000_000 + number}.000100", "UBENCH")
