"""A Celery task that does nothing, with Celery's own settings: acknowledged before it runs, four prefetched a
process, no events. It is quicker for that, and loses what its worker had in hand when that is killed.
"""

from __future__ import annotations

import os

from celery import Celery

from benchmarks.contenders.stock_celery import StockCelery

app = Celery(
    "celery_noop_defaults",
    broker=os.environ["CELERY_BROKER_URL"],
    backend=os.environ["CELERY_RESULT_BACKEND"],
)


@app.task(name="noop_defaults")
def noop(channel_id: str, thread_ts: str, user_id: str) -> dict[str, str]:
    """Take a command's arguments, and return an empty result."""
    return {}


class CeleryNoopDefaults(StockCelery):
    module = __name__
    task = "noop_defaults"
    queue = "celery"
