"""Feed of mutated messages into the queue, beside honest commands, as fast as they end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis

from benchmarks.remote import ContenderFailed
from tests.support.mutations import mutant

_SEED: Final = 2026
_IN_FLIGHT: Final = 200
_LOOK_SECONDS: Final = 0.02
_END_SECONDS: Final = 120


@contextmanager
def mutants(broker_url: str, count: int) -> Iterator[None]:
    """Feed so many mutants during and after the block, until all have ended. Raises ``ContenderFailed``."""
    with redis.Redis.from_url(broker_url) as broker:
        feeding = threading.Thread(target=_feed, args=(broker, count), name="mutants", daemon=True)
        feeding.start()
        yield
        feeding.join(_END_SECONDS)
        deadline = time.monotonic() + _END_SECONDS
        while feeding.is_alive() or _waiting(broker):
            if time.monotonic() > deadline:
                raise ContenderFailed(f"{_waiting(broker)} of {count} mutated messages have not ended")
            time.sleep(_LOOK_SECONDS)


def _feed(broker: redis.Redis, count: int) -> None:
    for number in range(count):
        broker.lpush("sessions", mutant(number, _SEED, of_all_kinds=False).raw())
        while number % 20 == 0 and _waiting(broker) > _IN_FLIGHT:
            time.sleep(_LOOK_SECONDS)


def _waiting(broker: Any) -> int:
    waiting = broker.llen("sessions") + broker.hlen("unacked") + broker.zcard("threadsync.waiting:sessions")
    return int(waiting)
