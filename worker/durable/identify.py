"""A worker asks Postgres which installation it is, before it takes anything from a broker."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from threadsync.broker.installation import options_for
from threadsync.config import Settings
from threadsync.errors import DatabaseUnavailable, InvalidSettings
from worker.db.installation.store import InstallationStore
from worker.db.pool import single_connection

INSTALLATION: Final = "threadsync_installation"
"""The entry of Celery's configuration that says who we are."""

_AGAIN_SECONDS: Final = 1.0
_SAID_EVERY: Final = 10

log = logging.getLogger("threadsync.worker")


def identify(app: Any, settings: Settings) -> None:
    """Note who we are; wait for Postgres if it is away. Raises ``InvalidSettings`` if we are another one."""
    ours = _ask()
    known = settings.installation_id
    if known and str(known) != ours:
        raise InvalidSettings(
            f"INSTALLATION_ID is {known}, but the database of DATABASE_URL belongs to installation {ours}: "
            "one of the two settings is another installation's"
        )
    app.conf[INSTALLATION] = ours
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, **options_for(ours)}


def _ask() -> str:
    tries = 0
    while True:
        try:
            with single_connection() as connection:
                return str(InstallationStore(connection).get())
        except DatabaseUnavailable as exc:
            if tries % _SAID_EVERY == 0:
                log.warning("nothing is taken until Postgres says which installation this is: %s", exc)
            tries += 1
            time.sleep(_AGAIN_SECONDS)
