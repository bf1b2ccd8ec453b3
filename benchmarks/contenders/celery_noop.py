"""The baseline of all others: a Celery task that does nothing, with its result kept.

Stock Celery and stock kombu with our worker's settings.
"""

from __future__ import annotations

from benchmarks.contenders.stock_celery import StockCelery, stock_app

app = stock_app("celery_noop")


@app.task(name="noop")
def noop(channel_id: str, thread_ts: str, user_id: str) -> dict[str, str]:
    """Take a command's arguments, and return an empty result."""
    return {}


class CeleryNoop(StockCelery):
    module = __name__
    task = "noop"
