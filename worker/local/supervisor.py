"""Keep local services running: restart a dead one, and give up one that keeps dying."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from worker.local.child import describe_exit
from worker.local.failure import LocalServiceFailed
from worker.local.service import Service

_WATCH_SECONDS = 0.1


class Supervisor:
    """Supervisor of services in ranks: a rank starts and stops together, and may need former ranks.

    A service that dies is started again after a pause that doubles with each death. One that dies
    ``max_deaths`` times within ``window`` seconds ends everything; ``wait`` then raises what happened.

    Args:
        report: told in a sentence what happens to a service; called from the watching thread.
        hurried: once it says yes, ``stop`` uses SIGKILL without further grace.
    """

    def __init__(
        self,
        *,
        max_deaths: int = 5,
        window: float = 60,
        first_pause: float = 0.2,
        report: Callable[[str], None] = lambda sentence: None,
        hurried: Callable[[], bool] = lambda: False,
    ) -> None:
        self._max_deaths = max_deaths
        self._window = window
        self._first_pause = first_pause
        self._report = report
        self._hurried = hurried
        self._ranks: list[list[Service]] = []
        self._deaths: dict[str, deque[float]] = {}
        self._restart_at: dict[str, float] = {}
        self._stopping = threading.Event()
        self._failure: LocalServiceFailed | None = None
        self._watcher: threading.Thread | None = None
        self._stop_lock = threading.Lock()

    def __getitem__(self, name: str) -> Service:
        """Return the service of that name, to read its pid or to kill it; KeyError if there is none."""
        for service in self:
            if service.name == name:
                return service
        raise KeyError(name)

    def __iter__(self) -> Iterator[Service]:
        return iter([service for rank in tuple(self._ranks) for service in tuple(rank)])

    def start(self, *services: Service, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Start these services together, as the next rank, and watch each from then on.

        Raises ``LocalServiceFailed`` of the first that does not start; those beside it that are not ready yet
        are given up, and what is ready runs.
        """
        rank: list[Service] = []
        failures: list[Exception] = []
        self._ranks.append(rank)

        def start_one(service: Service) -> None:
            try:
                service.start(lambda: cancelled() or self._stopping.is_set() or bool(failures))
            except Exception as exc:  # noqa: BLE001 - raised below, by the thread that asked
                failures.append(exc)
            else:
                self._deaths[service.name] = deque(maxlen=self._max_deaths)
                rank.append(service)

        _together(start_one, services)
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
            self._watcher.start()
        if failures:
            raise failures[0]

    def wait(self, until: Callable[[], bool] = lambda: False) -> None:
        """Block until ``until`` is True or ``stop`` was called. Raises ``LocalServiceFailed`` on giving up.

        Polls, because what ends the wait is a signal handler, and a handler must not touch a lock.
        """
        while not until() and not self._stopping.is_set():
            time.sleep(_WATCH_SECONDS)
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        """Stop all, the last rank first. Returns when no process is left; safe to call again."""
        self._stopping.set()
        with self._stop_lock:
            self._stop_services()
            if self._watcher and self._watcher is not threading.current_thread():
                self._watcher.join()
                # The watcher may have been starting one of them.
                self._stop_services()

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _stop_services(self) -> None:
        for rank in reversed(self._ranks):
            _together(lambda service: service.stop(self._hurried), rank)

    def _watch(self) -> None:
        while not self._stopping.wait(_WATCH_SECONDS):
            try:
                for service in self:
                    self._look_after(service)
            except LocalServiceFailed as exc:
                self._failure = exc
                self._report(f"{exc}".partition("\n")[0])
                self._give_up()

    def _look_after(self, service: Service) -> None:
        if self._stopping.is_set():
            return
        due = self._restart_at.get(service.name)
        if due is None:
            code = service.poll()
            if code is not None:
                self._plan_restart(service, describe_exit(code))
        elif time.monotonic() >= due:
            del self._restart_at[service.name]
            self._restart(service)

    def _restart(self, service: Service) -> None:
        try:
            service.start(self._stopping.is_set)
        except (LocalServiceFailed, OSError) as exc:
            if not self._stopping.is_set():
                self._plan_restart(service, str(exc).partition(";")[0])
        else:
            self._report(f"{service.name} is back as process {service.pid}")

    def _plan_restart(self, service: Service, reason: str) -> None:
        """Plan a dead service's restart. Raises ``LocalServiceFailed`` when it has died too often."""
        now = time.monotonic()
        deaths = self._deaths[service.name]
        deaths.append(now)
        if len(deaths) == self._max_deaths and now - deaths[0] <= self._window:
            raise LocalServiceFailed(
                f"{service.name} died {len(deaths)} times within {self._window:g} s, "
                f"the last time with {reason}; its log ends with:\n{service.log_tail()}"
            )
        recent = sum(1 for death in deaths if now - death <= self._window)
        pause = self._first_pause * 2 ** (recent - 1)
        self._restart_at[service.name] = now + pause
        self._report(f"{service.name} died ({reason}); it is started again in {pause:g} s")

    def _give_up(self) -> None:
        """Stop all services, without ``stop``, whose caller holds the lock and waits for this thread."""
        self._stopping.set()
        self._stop_services()


def _together(act: Callable[[Service], None], services: Sequence[Service]) -> None:
    """Call a function for each service at the same time, and wait for all; raise the first error."""
    with ThreadPoolExecutor(max(1, len(services)), thread_name_prefix="service") as threads:
        list(threads.map(act, tuple(services)))
