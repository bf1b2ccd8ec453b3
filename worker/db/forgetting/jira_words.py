"""Prepare Jira's words about a draft or a ticket for Postgres."""

from __future__ import annotations

from typing import Final

from worker.db.forgetting.arrivals import Redaction
from worker.db.forgetting.store import ForgetStore
from worker.db.pool import Pool

_LONGEST: Final = 4_000


def kept(words: str | None, pool: Pool | None) -> str | None:
    """Return the words without people who were forgotten within the last day, and cut to what Postgres takes.

    They may quote a draft that a step in progress has in memory. Raises ``DatabaseUnavailable``.
    """
    if not words:
        return words
    text = Redaction(ForgetStore(pool).people()).text(words)
    return text.replace("\x00", "").encode("utf-8", "replace").decode()[:_LONGEST]
