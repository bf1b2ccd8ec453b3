"""Gather the results of a batch, and store them down one pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import redis
from kombu.utils.encoding import bytes_to_str
from redis.exceptions import NoPermissionError

from worker.durable.scripts import RESULTS

SILENT: Final = "the backend was away a moment ago"


def gathering(backend: Any) -> AbstractContextManager[None]:
    """Store the results of the block together at its end, if the backend can do that."""
    return backend.gathering() if isinstance(backend, Gathers) else nullcontext()


class Gathers:
    """Mixin for a Redis backend, which keeps results back inside ``gathering``, then stores them at once."""

    app: Any
    client: Any
    expires: int | None
    _gathered: list[tuple[str, Any]] | None = None
    may_script: bool | None = None
    """True if results may be stored by a script; None until that was tried."""

    # Celery's own, and what stands in front of them.
    READY_STATES: frozenset[str]
    current_task_children: Callable[[Any], Any]
    encode: Callable[[Any], Any]
    get_key_for_task: Callable[[str], Any]
    _is_silent: Callable[[], bool]
    _lose: Callable[..., None]
    _note: Callable[[Exception], None]

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Store the results of this block at its end, all at once."""
        self._gathered = []
        try:
            yield
        finally:
            gathered, self._gathered = self._gathered, None
            self.store_at_once(gathered)

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
        """Make a result's record without Celery's look-ups, which take a tenth of a busy process's time."""
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

    def store_at_once(self, gathered: list[tuple[str, Any]]) -> None:
        """Store encoded results by their keys; what cannot be stored is logged as lost."""
        if not gathered:
            return
        try:
            if self._is_silent():
                self._lose(len(gathered), SILENT)
                return
            refused, reason = self._stored_at_once(gathered)
        # Whatever it is: these commands have ended.
        except Exception as exc:  # noqa: BLE001
            self._note(exc)
            self._lose(len(gathered), f"{type(exc).__name__}: {exc}")
        else:
            if refused:
                self.note_lost(refused, reason)

    def note_lost(self, count: int, reason: str) -> None:
        """Log and count results that the server refused."""
        self._lose(count, reason)

    def _stored_at_once(self, gathered: list[tuple[str, Any]]) -> tuple[int, str]:
        """Store results in one round trip; return how many the server refused, and why the last one was."""
        if self.may_script is not False:
            try:
                count, reason = self.client.execute_command(*results_command(gathered, self.expires))
            except redis.ResponseError as exc:
                if not _is_about_scripts(exc):
                    raise
                self.may_script = False
            else:
                self.may_script = True
                return int(count), bytes_to_str(reason)
        return self._stored_one_by_one(gathered)

    def _stored_one_by_one(self, gathered: list[tuple[str, Any]]) -> tuple[int, str]:
        with self.client.pipeline(transaction=False) as pipe:
            for key, value in gathered:
                pipe.set(key, value, ex=self.expires or None)
                # For stock Celery's clients, which wait for it; ours look, so this one may be refused.
                pipe.publish(key, value)
            replies = pipe.execute(raise_on_error=False)
        refused = [reply for reply in replies[::2] if isinstance(reply, Exception)]
        return len(refused), f"{type(refused[-1]).__name__}: {refused[-1]}" if refused else ""


def _is_about_scripts(error: redis.ResponseError) -> bool:
    """Return True for a user without the right to run scripts on results, or a server without scripts."""
    return isinstance(error, NoPermissionError) or "unknown command" in str(error)


def results_command(results: Sequence[tuple[str, Any]], expires: int | None) -> tuple[Any, ...]:
    """Return the command of Valkey or Redis that stores encoded results by their keys.

    Args:
        expires: seconds until they are deleted; None or 0 for never.
    """
    keys, values = zip(*results, strict=True)
    return ("EVAL", RESULTS, len(keys), *keys, int(expires or 0), *values)
