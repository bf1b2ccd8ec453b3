"""Check the settings of channels: values that count as absent, and those that Jira has not confirmed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from threadsync.channel_settings.values import Reading
from threadsync.config import Settings
from threadsync.errors import DatabaseUnavailable, InvalidSettings, ThreadsyncError
from worker.db.channels.sql import LIST_CONFIGURED
from worker.db.channels.store import readings_of
from worker.db.pool import single_connection
from worker.doctor.finding import Finding, info, ok, skipped, warning

CHECKS: Final = ("channels: settings", "channels: verified")
_MOST_CHANNELS: Final = 10_000
_NAMED: Final = 5


def examine_channels(settings: Settings) -> Iterator[Finding]:
    """Read the settings of all channels that have some."""
    if not settings.database_url:
        yield from (skipped(check, "DATABASE_URL is not set") for check in CHECKS)
        return
    try:
        with single_connection(settings.database_url.get_secret_value()) as connection:
            params = {"after": "", "limit": _MOST_CHANNELS}
            found = readings_of(connection.execute(LIST_CONFIGURED, params).fetchall())
    except (DatabaseUnavailable, InvalidSettings):
        yield from (skipped(check, "Postgres does not answer") for check in CHECKS)
    except ThreadsyncError:
        # Of a reader, the console, or a database that was not migrated; other checks say so.
        yield from (skipped(check, "this login may not read them") for check in CHECKS)
    else:
        yield from judge(found)


def judge(found: Sequence[tuple[str, Reading]]) -> Iterator[Finding]:
    """Judge the settings, given by channel. No value is quoted: it may be anything."""
    faults = [f"{channel}: {fault}" for channel, reading in found for fault in reading.faults]
    if faults:
        what = f"values that count as absent: {_first(faults)}"
        fix = "set them again: threadsync channels set CHANNEL name=value --reason …, or channels reset"
        yield warning(CHECKS[0], what, fix)
    else:
        yield ok(CHECKS[0], f"channels with settings of their own: {len(found)}")
    doubtful = [
        f"{channel}: {name}" for channel, reading in found for name in sorted(reading.settings.unverified)
    ]
    if doubtful:
        yield info(CHECKS[1], f"not confirmed by Jira, until a ticket is made with it: {_first(doubtful)}")
    else:
        yield ok(CHECKS[1], "Jira has confirmed what channels are set to")


def _first(texts: Sequence[str]) -> str:
    more = f"; and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return "; ".join(texts[:_NAMED]) + more
