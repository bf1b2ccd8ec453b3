"""Commands for many threads, and how their sessions must end: what the tests with kills send."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import redis
from celery.result import AsyncResult

from tests.support.installation import Installation
from tests.support.waiting import wait_until

Message = tuple[str, dict[str, str]]
End = tuple[str, str | None]


class Load:
    """Commands for many threads, shuffled, each sent one to three times, and how each session must end.

    Args:
        together: threads whose commands are shuffled among each other; all, if None.
    """

    def __init__(self, seed: int, threads: int = 150, together: int | None = None) -> None:
        draw = random.Random(seed)
        self.ends: dict[str, End] = {}
        self.messages: list[Message] = []
        block: list[Message] = []
        for number in range(threads):
            thread = {"channel_id": f"C{number % 7}", "thread_ts": f"1700000000.{number:06}"}
            key = f"PROJ-{number + 1}"
            end: End = draw.choice([("collecting", None), ("ready_to_sync", None), ("synced", key)])
            commands: list[Message] = [
                ("sessions.get_or_create", {**thread, "user_id": user}) for user in ("U1", "U2")
            ]
            commands += [("sessions.update_status", {**thread, "status": "collecting"})]
            if end[0] != "collecting":
                commands += [("sessions.update_status", {**thread, "status": "ready_to_sync"})]
            if end[0] == "synced":
                commands += [("sessions.mark_synced", {**thread, "jira_key": key})]
            self.ends[thread["thread_ts"]] = end
            block += [command for command in commands for _ in range(draw.randint(1, 3))]
            if number + 1 == threads or (together and (number + 1) % together == 0):
                draw.shuffle(block)
                self.messages += block
                block = []
        self.sent = 0
        self._results: list[AsyncResult[Any]] = []

    def send(self, installation: Installation, messages: list[Message] | None = None) -> None:
        for task, arguments in messages or self.messages:
            self._results.append(installation.send(task, **arguments))
            self.sent += 1

    def without_result(self, installation: Installation) -> list[str]:
        """Return the ids of sent commands that have no result."""
        with redis.Redis.from_url(installation.broker_url) as server:
            ids = [result.id for result in self._results]
            found = server.mget([f"celery-task-meta-{task_id}" for task_id in ids])
        return [task_id for task_id, meta in zip(ids, found, strict=True) if meta is None]

    def ended(self, installation: Installation) -> int:
        """Count the sent messages that no longer wait, also while others are being sent."""
        # In this order: what is sent in between makes the answer too small, never too large.
        sent = self.sent
        return sent - installation.waiting()

    def wait_until_ended(self, installation: Installation, number: int, timeout: float) -> None:
        wait_until(lambda: self.ended(installation) >= number, f"{number} messages have ended", timeout)

    def is_done(self, installation: Installation) -> bool:
        """Every message has ended, and each of its sessions is as it must be; there may be others."""
        return installation.waiting() == 0 and self.ends == {
            session.thread_ts: (session.status, session.jira_key)
            for session in installation.sessions()
            if session.thread_ts in self.ends
        }

    def wait_until_done(self, installation: Installation, timeout: float) -> None:
        wait_until(lambda: self.is_done(installation), "all sessions end as the table says", timeout)
        assert installation.dead_letters() == []

    def standstill_until_done(self, installation: Installation, timeout: float) -> float:
        """Wait as ``wait_until_done`` does; for how many seconds in all no message ended meanwhile."""
        standstill, looked_at, least = 0.0, time.monotonic(), installation.waiting()

        def none_waits() -> bool:
            nonlocal standstill, looked_at, least
            waiting, now = installation.waiting(), time.monotonic()
            if waiting >= least:
                standstill += now - looked_at
            looked_at, least = now, min(waiting, least)
            return waiting == 0

        wait_until(none_waits, "no message waits", timeout)
        assert self.is_done(installation)
        assert installation.dead_letters() == []
        return standstill


def progress(installation: Installation, left: int) -> Callable[[], bool]:
    """Return a predicate: only so many messages are left."""
    return lambda: installation.waiting() <= left
