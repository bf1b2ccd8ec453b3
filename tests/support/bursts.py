"""Make many calls at once; say "begun", then each that failed.

``python -m tests.support.bursts KIND CALLS URL``
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import redis

from tests.support.workers import ROOT
from threadsync import AsyncSessionClient, SessionClient

PARTS = 4
"""Of several clients, or of forked processes."""

Send = Callable[[int], object]


def commands_in(broker: redis.Redis, queue: str = "sessions") -> set[str]:
    """The ids of the commands that wait there; one may lie there twice, as it may be sent again."""
    return {json.loads(message)["headers"]["id"] for message in broker.lrange(queue, 0, -1)}


def thread_ts(number: int) -> str:
    return f"1700000000.{number:06}"


def at_once(send: list[Send], numbers: range) -> list[str]:
    """Call the functions in rotation, each number in a thread of its own; return what failed."""
    failures: list[str] = []
    ready = threading.Barrier(len(numbers))

    def one(number: int) -> None:
        ready.wait()
        try:
            send[number % len(send)](number)
        except Exception as exc:  # noqa: BLE001 - all are told
            failures.append(f"{type(exc).__name__}: {exc}")

    threads = [threading.Thread(target=one, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def _sends(client: SessionClient) -> Send:
    return lambda number: client.get_or_create("C1", thread_ts(number), "U1")


def of_threads(calls: int, url: str) -> list[str]:
    with SessionClient(url, url) as client:
        return at_once([_sends(client)], range(calls))


def of_several_clients(calls: int, url: str) -> list[str]:
    with ExitStack() as stack:
        clients = [stack.enter_context(SessionClient(url, url)) for _ in range(PARTS)]
        return at_once([_sends(client) for client in clients], range(calls))


def of_asyncio(calls: int, url: str) -> list[str]:
    async def run() -> list[str]:
        async with AsyncSessionClient(url, url) as client:
            outcomes = await asyncio.gather(
                *(client.get_or_create("C1", thread_ts(number), "U1") for number in range(calls)),
                return_exceptions=True,
            )
        return [f"{type(failed).__name__}: {failed}" for failed in outcomes if isinstance(failed, Exception)]

    return asyncio.run(run())


def after_forks(calls: int, url: str) -> list[str]:
    """Load and use the app before forking, as some servers do."""
    share = calls // PARTS
    with SessionClient(url, url) as client:
        client.ping()
        children: list[int] = []
        for part in range(PARTS):
            child = os.fork()
            if child == 0:
                failed = ["it broke"]
                try:
                    failed = at_once([_sends(client)], range(part * share, (part + 1) * share))
                    sys.stdout.writelines(f"{line}\n" for line in failed)
                    sys.stdout.flush()
                finally:
                    os._exit(bool(failed))
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return [f"exit code {code}" for code in codes if code]


KINDS: dict[str, Callable[[int, str], list[str]]] = {
    "threads": of_threads,
    "several clients": of_several_clients,
    "asyncio": of_asyncio,
    "after forks": after_forks,
}


@contextmanager
def burst(kind: str, calls: int, url: str) -> Iterator[subprocess.Popen[str]]:
    """In a process of its own, which has just begun."""
    argv = [sys.executable, "-m", "tests.support.bursts", kind, str(calls), url]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "begun\n"
            yield process
        finally:
            process.kill()


@contextmanager
def busy_processors(processes: int) -> Iterator[None]:
    """Others want them all the time."""
    argv = [sys.executable, "-c", "while True: pass"]
    with ExitStack() as stack:
        for _ in range(processes):
            process = stack.enter_context(subprocess.Popen(argv))
            stack.callback(process.kill)
        yield


if __name__ == "__main__":
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    for line in KINDS[sys.argv[1]](int(sys.argv[2]), sys.argv[3]):
        sys.stdout.write(f"{line}\n")
