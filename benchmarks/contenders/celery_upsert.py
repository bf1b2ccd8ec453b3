"""The same SQL as one plain Celery task: stock Celery and stock kombu with our worker's settings."""

from __future__ import annotations

from typing import Any

from benchmarks.contenders.stock_celery import StockCelery, stock_app
from benchmarks.upsert import upsert

app = stock_app("celery_upsert")


@app.task(name="upsert")
def upsert_task(channel_id: str, thread_ts: str, user_id: str) -> dict[str, Any]:
    """Open the thread's session."""
    return upsert(channel_id, thread_ts, user_id)


class CeleryUpsert(StockCelery):
    module = __name__
    task = "upsert"
