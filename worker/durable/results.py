"""Result backends in which storing a result never decides over its command.

When a result is stored the effect is there already, or the dead letter, or the copy that is to run later. So
whatever happens on the way is logged and counted, and the message ends as if the result were there: a server
that refuses, is away or frozen, a time limit in the middle, a result that is no JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from time import monotonic
from typing import Any, Final

import redis
import structlog
from amqp.exceptions import AMQPError
from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery
from celery.app import backends
from celery.backends.redis import RedisBackend, SentinelBackend
from celery.exceptions import ImproperlyConfigured
from celery.states import FAILURE
from kombu.exceptions import EncodeError, OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import SentinelManagedConnection

from threadsync.broker.in_step import in_step, sentinel_limits
from threadsync.broker.results import hang_up, read_part
from threadsync.errors import CommandFailed, InvalidSettings
from worker.durable.gathering import SILENT, Gathers
from worker.observe import metrics

_SILENCE_SECONDS: Final = 2.0
"""Pause after a time-out of the backend: else each command would wait for a time-out of its own."""

_GLANCE_SECONDS: Final = 0.1
"""The longest wait for a backend that was away to say that it is back."""

_PAUSE_TIMES: Final = 5
"""The pause between two looks, as a multiple of the first one's time: a refusal takes next to none."""

_LIMITS: Final = ("socket_timeout", "socket_connect_timeout")
"""Limits that a connection may have; a unix socket has none for connecting."""

_AWAY: Final = (
    redis.ConnectionError,
    redis.TimeoutError,
    OperationalError,
    AMQPError,
    OSError,
    # Raised when a command's time ends in a wait for the backend.
    SoftTimeLimitExceeded,
)

log = structlog.get_logger("threadsync.worker")


class Glances:
    """Mixin for a Redis backend, which checks whether a server that was away is back."""

    connparams: dict[str, Any]
    _create_client: Callable[..., Any]
    _look_again_at = 0.0

    def is_back(self) -> bool:
        """Return True if the server answers at once; False also if it was asked a moment ago."""
        began = monotonic()
        if began < self._look_again_at:
            return False
        is_there = self._answers()
        now = monotonic()
        self._look_again_at = 0.0 if is_there else now + _PAUSE_TIMES * (now - began)
        return is_there

    def _answers(self) -> bool:
        limits: dict[str, Any] = {name: _GLANCE_SECONDS for name in _LIMITS if name in self.connparams}
        # On a connection of its own: the existing ones may be broken since the server went away.
        client = self._create_client(**{**self.connparams, **limits, "retry": Retry(NoBackoff(), 0)})
        try:
            client.ping()
        except redis.ResponseError:
            # The server is there, and refuses.
            return True
        except (redis.RedisError, OSError):
            return False
        finally:
            hang_up(client)
        return True


class NeverDecides:
    """Mixin for a backend class of Celery's, so that nothing that it does for a command raises."""

    _silent_until = 0.0

    def store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **kwargs: Any
    ) -> Any:
        if state == FAILURE and isinstance(result, SoftTimeLimitExceeded):
            # Out of time outside the command: it is run again (worker/durable/request.py), so nothing failed.
            return result
        store = _celerys(self).store_result
        told = {"traceback": traceback, "request": request, **kwargs}
        error = self._attempt(task_id, lambda: store(task_id, result, state, **told))
        if isinstance(error, EncodeError):
            # Store a failure, so that no client waits for ever.
            failed = CommandFailed(f"the command was carried out, its result is lost: EncodeError: {error}")
            self._attempt(task_id, lambda: store(task_id, failed, FAILURE, request=request))
        return result

    def on_chord_part_return(self, request: Any, state: str, result: Any, **kwargs: Any) -> None:
        count = _celerys(self).on_chord_part_return
        self._attempt(str(request.id), lambda: count(request, state, result, **kwargs))

    def _fail_chain(self, *args: Any, **kwargs: Any) -> None:
        """Fail the rest of a chain without raising: Celery 5.7 reads results for that."""
        self._attempt("", lambda: _celerys(self)._fail_chain(*args, **kwargs))

    def _attempt(self, task_id: str, tell: Callable[[], Any]) -> Exception | None:
        try:
            if self._is_silent():
                self._lose(1, SILENT, task_id=task_id)
                return None
            tell()
        # Whatever it is: the command has ended.
        except Exception as exc:  # noqa: BLE001
            self._note(exc)
            self._lose(1, f"{type(exc).__name__}: {exc}", task_id=task_id)
            return exc
        return None

    def _is_silent(self) -> bool:
        """Return True if the backend was away a moment ago and does not answer a quick question."""
        if monotonic() < self._silent_until and isinstance(self, Glances) and self.is_back():
            self._silent_until = 0.0
        return monotonic() < self._silent_until

    def _note(self, error: Exception) -> None:
        if isinstance(error, _AWAY):
            self._silent_until = monotonic() + _SILENCE_SECONDS

    def _lose(self, count: int, reason: str, **fields: Any) -> None:
        metrics.results_lost(count)
        log.warning("result lost", count=count, reason=reason, **fields)


class ReadsInStep:
    """Mixin for a Redis backend, so that no reply is taken for another command's."""

    app: Any
    client: Any
    connparams: dict[str, Any]
    connection_class: type[redis.Connection] = redis.Connection

    def get(self, key: Any) -> Any:
        """Read at most ``MOST_RESULT_BYTES``. Raises ``UnreadableResult`` for what is larger."""
        return read_part(self.client, key)

    def _get_pool(self, **params: Any) -> Any:
        given = params.get("connection_class", self.connection_class)
        celerys: Any = super()
        return celerys._get_pool(**{**params, "connection_class": in_step(given)})


class InStepBackend(ReadsInStep, RedisBackend):
    """Backend for ``redis://`` and ``rediss://``."""


class InStepSentinelBackend(ReadsInStep, SentinelBackend):
    """Backend for ``sentinel://``, with a limit on the wait for sentinels."""

    connection_class = SentinelManagedConnection

    @cached_property
    def _transport_options(self) -> dict[str, Any]:
        """Celery's options with limits for sentinels, which Celery's own ``sentinel_kwargs`` may lack."""
        options: dict[str, Any] = dict(self.app.conf.get("result_backend_transport_options") or {})
        options["sentinel_kwargs"] = sentinel_limits(options.get("sentinel_kwargs"), self.connparams)
        return options


_OURS: Final[dict[type, tuple[type, ...]]] = {
    RedisBackend: (Gathers, Glances, InStepBackend),
    SentinelBackend: (Gathers, Glances, InStepSentinelBackend),
}


class WorkersCelery(Celery):
    """An app whose results never decide over a command, wherever ``result_backend`` keeps them."""

    control_cls = "worker.durable.remote_control:WorkersControl"

    def _get_backend(self) -> Any:
        try:
            return self._new_backend()
        except (ImproperlyConfigured, ImportError) as exc:
            # Celery's own words, such as of a folder that is not there, or of a driver that is not installed.
            raise InvalidSettings(f"CELERY_RESULT_BACKEND is of no use here: {exc}") from exc

    def _new_backend(self) -> Any:
        asked_for: Any = self.backend_cls or self.conf.result_backend
        by_url: Any = backends.by_url  # the stubs say that it returns a class alone
        found, url = by_url(asked_for, self.loader)
        bases = (NeverDecides, *_OURS.get(found, (found,)))
        policy = getattr(found, "retry_policy", None)
        # Twenty tries, by default; Redis has a setting for it.
        fewer = {"retry_policy": {**policy, "max_retries": 1}} if isinstance(policy, dict) else {}
        return type(f"NeverDeciding{found.__name__}", bases, fewer)(app=self, url=url)


def _celerys(backend: NeverDecides) -> Any:
    return super(NeverDecides, backend)
