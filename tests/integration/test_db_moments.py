"""Moments beyond Python's range, read as the earliest or latest moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from worker.db.moments import BEGINNING_OF_TIME, END_OF_TIME
from worker.db.pool import Pool


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2026-11-28 12:00+00", datetime(2026, 11, 28, 12, tzinfo=UTC)),
        ("infinity", END_OF_TIME),
        ("-infinity", BEGINNING_OF_TIME),
        ("10000-01-01 00:00+00", END_OF_TIME),
        ("58000-01-01 00:00+00", END_OF_TIME),
        ("0044-03-15 00:00+00 BC", BEGINNING_OF_TIME),
    ],
)
def test_any_moment_can_be_read(pool: Pool, value: str, shown: datetime, zone: str, binary: bool) -> None:
    """A moment of any size is read in each time zone and format, and so is the column beside it."""
    with pool.connection() as connection, connection.transaction():
        connection.execute("SELECT set_config('TimeZone', %s, true)", [zone])
        with connection.cursor(binary=binary) as cursor:
            row = cursor.execute("SELECT %s::timestamptz AS at, 1 AS beside", [value]).fetchone()
    assert row == {"at": shown, "beside": 1}
    assert row["at"].astimezone(timezone(timedelta(hours=14))).utcoffset() == timedelta(hours=14)
