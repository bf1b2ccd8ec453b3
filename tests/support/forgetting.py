"""A thread, a person and their data, to be forgotten."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import psycopg
import pytest

from tests.support.servers import as_owner
from threadsync.actors import SlackActor
from threadsync.config import get_settings
from threadsync.syncs import Draft
from worker.db.forgetting.store import ForgetStore, What
from worker.operate.decisions import Signature, signature
from worker.operate.forgetting import act as acts

CHANNEL: Final = "C0123"
THREAD: Final = "1700000000.000100"
PERSON: Final = "U0OCELOT"
OTHER: Final = "U0OTHER"
DRAFT: Final = Draft(summary="ocelot summary", description=f"the ocelot of <@{PERSON}>", labels=("ocelot",))
LATER: Final = "1700000009.000100"
BY: Final[dict[str, Any]] = {"actor": "ann", "reason": "asked for"}


def begun(forgets: ForgetStore, what: What = "thread") -> UUID:
    return forgets.begin(what, None, **BY)


def dump(database_url: str) -> str:
    """All rows of all tables, as `COPY` shows them to the tables' owner."""
    found = ""
    with psycopg.connect(as_owner(database_url)) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        ).fetchall()
        for (table,) in tables:
            with connection.cursor().copy(f'COPY "{table}" TO STDOUT'.encode()) as rows:
                found += "".join(bytes(row).decode() for row in rows)
    return found


MAYA: Final = SlackActor(user_id=PERSON, team_id="T1")


def owner_runs(database_url: str, *statements: str) -> None:
    with psycopg.connect(as_owner(database_url)) as owner:
        for statement in statements:
            owner.execute(statement.encode())


SIGNATURE: Final[Signature] = signature("ann", "asked for", "cli")


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no worker to learn of a forgotten person, and have no broker."""
    monkeypatch.setattr(acts, "_HEARD_SECONDS", 0)
    for name in ("CELERY_BROKER_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    get_settings.cache_clear()
