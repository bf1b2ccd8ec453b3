"""Refuse to start a worker that could lose messages, before it takes any."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from typing import Any, Final

from celery import bootsteps
from celery.exceptions import ImproperlyConfigured

from threadsync.broker.ownership import options_for
from threadsync.config import Settings, get_settings
from threadsync.errors import DatabaseUnavailable, InvalidSettings
from threadsync.queues import LOOKUPS_QUEUE, SYNCS_QUEUE
from worker.db.installation.store import InstallationStore
from worker.db.pool import single_connection
from worker.observe.tracing import check_tracing

INSTALLATION: Final = "threadsync_installation"
"""Entry of Celery's configuration with our installation's id."""

_AGAIN_SECONDS: Final = 1.0
_SAID_EVERY: Final = 10

_ASK_JIRA: Final = frozenset({SYNCS_QUEUE, LOOKUPS_QUEUE})

_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 - only where there is no other

log = logging.getLogger("threadsync.worker")


class KnownPool(bootsteps.Step):
    """Step that refuses other pools: they fill their places once, then take nothing, or share a process."""

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        pool = f"{parent.pool_cls.__module__}:{parent.pool_cls.__qualname__}"
        if pool == "celery.concurrency.solo:TaskPool":
            log.warning(
                "pool solo is for debugging: a command has no time limit, and one that ends its process "
                "ends the worker"
            )
        elif pool != "worker.durable.pool:DurableTaskPool":
            raise ImproperlyConfigured(
                f"pool {pool} is not supported: take prefork (the default), or solo for debugging"
            )


class NeededSettings(bootsteps.Step):
    """Step that refuses a start without a database: a command could not be run, nor kept as a dead letter.

    One that is away is waited for: it says whose messages this worker may take.
    """

    # Celery keeps steps in a set: without this a wrong pool is refused before the wait, or after it.
    requires = (KnownPool,)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        get_settings().require("broker_url", "database_url")
        if _ASK_JIRA & set(parent.app.amqp.queues.consume_from):
            get_settings().require_jira_login()
        _need_temporary_folder()
        check_tracing(get_settings())
        identify(parent.app, get_settings())


def _need_temporary_folder() -> None:
    """Find a folder for the pool's shared-memory file, as an image may be read-only."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        if not os.access(_SHARED_MEMORY, os.W_OK):
            raise InvalidSettings(
                "no folder for temporary files can be written: mount one at /tmp, or name one in TMPDIR"
            ) from None
        tempfile.tempdir = _SHARED_MEMORY


def identify(app: Any, settings: Settings) -> None:
    """Note our installation once Postgres answers. Raises ``InvalidSettings`` if INSTALLATION_ID differs."""
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
