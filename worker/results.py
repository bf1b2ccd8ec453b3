"""Celery's Redis result backend, which can store many results down one pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from celery.backends.redis import RedisBackend
from kombu.utils.encoding import bytes_to_str


class GatheringBackend(RedisBackend):
    """For ``redis://`` and ``rediss://``, by the app's loader. Inside ``gathering`` results are kept back."""

    app: Any
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
        if self._gathered is None:
            celerys: Any = super()
            return celerys._store_result(task_id, result, state, traceback, request, **kwargs)
        meta = self._get_result_meta(result=result, state=state, traceback=traceback, request=request)
        meta["task_id"] = bytes_to_str(task_id)
        self._gathered.append((self.get_key_for_task(task_id), self.encode(meta)))
        return result

    @cached_property
    def _is_extended(self) -> bool:
        return bool(self.app.conf.find_value_for_key("extended", "result"))

    def _get_result_meta(
        self, result: Any, state: str, traceback: Any, request: Any, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """As Celery's, which looks up settings and a time zone for each: a tenth of a busy process's time."""
        if self._is_extended or state not in self.READY_STATES or args or kwargs:
            celerys: Any = super()
            meta: dict[str, Any] = celerys._get_result_meta(
                result, state, traceback, request, *args, **kwargs
            )
            return meta
        group, parent = getattr(request, "group", None), getattr(request, "parent_id", None)
        return {
            "status": state,
            "result": result,
            "traceback": traceback,
            "children": self.current_task_children(request),
            "date_done": datetime.now(UTC).isoformat(),
            **({"group_id": group} if group else {}),
            **({"parent_id": parent} if parent else {}),
        }

    def _store(self, gathered: list[tuple[str, Any]]) -> None:
        if not gathered:
            return
        with self.client.pipeline(transaction=False) as pipe:
            for key, value in gathered:
                pipe.set(key, value, ex=self.expires or None)
                # For those who wait for it as Celery does.
                pipe.publish(key, value)
            pipe.execute()
