"""What Celery's prefork pool leaves unsaid when the consumer closes, at a stop and when the broker goes.

It forgets each job whose child has not said yet that it has begun, although the child may have it; and it
forgets what it has read so far of an answer, so that the rest is taken for another one. A forgotten child
waits 30 s for somebody to hear its result (billiard's ``_ensure_messages_consumed``), and a stop under load
waits with it: measured, one stop in three. So we listen for another moment, which takes milliseconds.
"""

from __future__ import annotations

import select
import time
from types import GeneratorType
from typing import Any, Final

_LONGEST_SECONDS: Final = 1.0
_POLL_MILLISECONDS: Final = 20


def hear_children_out(pool: Any, hub: Any) -> None:
    """Return when each job that was given to a child is begun, and each answer that was begun is read.

    Args:
        pool: ``celery.concurrency.prefork.TaskPool``; any other has nothing to say.
        hub: the event loop, which does not run any more.
    """
    children: Any = getattr(pool, "_pool", None)
    if hub is None or not hasattr(children, "handle_result_event"):
        return
    deadline = time.monotonic() + _LONGEST_SECONDS
    while _is_unheard(children, hub) and time.monotonic() < deadline:
        poller = select.poll()
        for fd in children._fileno_to_outq:
            poller.register(fd, select.POLLIN)
        for fd in children._active_writes:
            poller.register(fd, select.POLLOUT)
        for fd, _event in poller.poll(_POLL_MILLISECONDS):
            _go_on(hub, fd)


def _is_unheard(children: Any, hub: Any) -> bool:
    half_read = any(
        isinstance(hub.readers.get(fd, (None,))[0], GeneratorType) for fd in children._fileno_to_outq
    )
    return half_read or any(job._write_to and not job._accepted for job in children._cache.values())


def _go_on(hub: Any, fd: int) -> None:
    """What the event loop would do."""
    callback, arguments = hub.readers.get(fd) or hub.writers.get(fd) or (None, ())
    if isinstance(callback, GeneratorType):
        try:
            next(callback)
        except StopIteration:
            pass
        except (OSError, EOFError):
            # The process is gone, and Celery will notice.
            hub.remove(fd)
    elif callback is not None:
        callback(*arguments)
