"""Check that the broker belongs to this installation: both Postgres and the broker hold its ID."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from threadsync.broker.errors import BROKER_ERRORS
from threadsync.broker.installation import owner_of
from threadsync.config import Settings
from threadsync.errors import DatabaseUnavailable, InvalidSettings
from worker.db.installation.store import InstallationStore
from worker.db.pool import single_connection
from worker.doctor.app import app_of
from worker.doctor.finding import Finding, error, ok, skipped

CHECK: Final = "installation"
CHECKS: Final = (CHECK,)


def examine_installation(settings: Settings) -> Iterator[Finding]:
    """Compare the IDs in Postgres and the broker; other areas report other faults of both."""
    if not settings.database_url or not settings.broker_url:
        yield skipped(CHECK, "it needs both Postgres and a broker")
        return
    try:
        with single_connection(settings.database_url.get_secret_value()) as connection:
            ours = str(InstallationStore(connection).get())
        app = app_of(settings.model_copy(update={"installation_id": None}))
        with app.connection_for_read() as broker:
            broker.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
            theirs = owner_of(broker)
    except (DatabaseUnavailable, InvalidSettings, *BROKER_ERRORS):
        yield skipped(CHECK, "Postgres or the broker does not answer")
        return
    yield judge(ours, theirs, str(settings.installation_id) if settings.installation_id else None)


def judge(ours: str, theirs: str | None, told: str | None) -> Finding:
    """Compare the IDs: ``ours`` of Postgres, ``theirs`` of the broker, ``told`` of the setting."""
    if told not in (None, ours):
        what = f"INSTALLATION_ID is {told}, and the database belongs to {ours}"
        return error(CHECK, what, "set INSTALLATION_ID to the ID that `threadsync installation show` prints")
    if theirs not in (None, ours):
        fix = (
            "set CELERY_BROKER_URL to a database, key prefix or vhost of our own; or, if the other one is "
            "gone: threadsync installation adopt --reason …"
        )
        return error(CHECK, f"the broker belongs to another installation, {theirs}; ours is {ours}", fix)
    return ok(CHECK, ours if theirs else f"{ours}; the first worker will write it into the broker")
