"""Jira's words about a draft or a ticket, as they are kept."""

from __future__ import annotations

from typing import Final

from worker.db.forgetting.arrivals import Redaction
from worker.db.forgetting.store import ForgetStore
from worker.db.pool import Pool

_LONGEST: Final = 4_000


def kept(words: str | None, pool: Pool | None) -> str | None:
    """Return what Postgres takes of them, without the people who were forgotten within the last day.

    They may quote a draft that a step under way has in memory. Raises ``DatabaseUnavailable``.
    """
    if not words:
        return words
    text = Redaction(ForgetStore(pool).people()).text(words)
    return text.replace("\x00", "").encode("utf-8", "replace").decode()[:_LONGEST]
