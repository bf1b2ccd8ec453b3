"""Celery's Redis result backend, which can store many results down one pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery.backends.redis import RedisBackend
from kombu.utils.encoding import bytes_to_str


class GatheringBackend(RedisBackend):
    """For ``redis://`` and ``rediss://``, by the app's loader. Inside ``gathering`` results are kept back."""

    expires: int | None
    _gathered: list[tuple[str, Any]] | None = None

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Store the results of this block at its end, all at once. Raises ``redis.RedisError``."""
        self._gathered = []
        try:
            yield
        finally:
            gathered, self._gathered = self._gathered, None
            self._store(gathered)

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **kwargs: Any
    ) -> Any:
        celerys: Any = super()
        if self._gathered is None:
            return celerys._store_result(task_id, result, state, traceback, request, **kwargs)
        meta = celerys._get_result_meta(result=result, state=state, traceback=traceback, request=request)
        meta["task_id"] = bytes_to_str(task_id)
        self._gathered.append((self.get_key_for_task(task_id), self.encode(meta)))
        return result

    def _store(self, gathered: list[tuple[str, Any]]) -> None:
        if not gathered:
            return
        with self.client.pipeline(transaction=False) as pipe:
            for key, value in gathered:
                pipe.set(key, value, ex=self.expires or None)
                # For those who wait for it as Celery does.
                pipe.publish(key, value)
            pipe.execute()
