"""Blocks of an import that are carried out at a time: their order, and what waits for what."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from tests.support.waiting import wait_until
from threadsync.types import Outcome
from worker.db.sessions.store import SessionStore
from worker.db.statement import Statement
from worker.operate.importing.at_work import AT_ONCE, AtWork
from worker.operate.importing.lines import Block, Place
from worker.operate.importing.parsing import Parsed, parsed


class Store:
    """A store that carries a thread's statements out once it is let; and the threads begun so far."""

    def __init__(self, *held: str) -> None:
        self.begun: list[str] = []
        self.most = 0
        self._running = 0
        self._lock = threading.Lock()
        self.held = {name: threading.Event() for name in held}

    def execute_many(self, statements: Sequence[Statement[Outcome]]) -> list[Outcome]:
        name = statements[0].params["thread_ts"]
        with self._lock:
            self.begun.append(name)
            self._running += 1
            self.most = max(self.most, self._running)
        if name in self.held:
            assert self.held[name].wait(10)
        with self._lock:
            self._running -= 1
        return ["created" for _ in statements]


def block(number: int, *threads: str) -> Parsed:
    lines = [
        json.dumps({"channel_id": "C1", "thread_ts": thread, "user_id": "U1"}).encode() for thread in threads
    ]
    return parsed(Block(list(enumerate(lines, 1)), Place(number, number)), None)


def at_work(store: Store, blocks: Iterable[Parsed], **options: Any) -> AtWork:
    stopped = options.pop("stopped", lambda: False)
    return AtWork(cast("SessionStore", store), iter(blocks), stopped)


def test_blocks_come_in_order_and_some_at_a_time() -> None:
    """Blocks are yielded in order; a few are carried out at a time, and no more."""
    store = Store("1.1")
    work = at_work(store, [block(number, f"{number}.1") for number in range(1, 8)])
    with ThreadPoolExecutor(1) as executor:
        ends = executor.submit(
            lambda: [begun.block.end.line for begun in work.each() if begun.results.result()]
        )
        wait_until(lambda: sorted(store.begun) == ["1.1", "2.1"], "two blocks are at work")
        store.held["1.1"].set()
        assert ends.result(10) == [1, 2, 3, 4, 5, 6, 7]
    assert store.most == AT_ONCE
    assert work.has_begun_all


def test_a_session_of_two_blocks_is_in_one_after_the_other() -> None:
    """A block with a session of the block before is begun once the caller has counted that one."""
    store = Store()
    work = at_work(store, [block(1, "1.1", "2.1"), block(2, "3.1", "2.1"), block(3, "4.1")])
    for begun in work.each():
        begun.results.result()
        if begun.block.end.line == 1:
            assert store.begun == ["1.1"]
    assert store.begun == ["1.1", "3.1", "4.1"]


def test_what_is_done_does_not_wait_for_the_next_block() -> None:
    """A block that is done is yielded while the next one of a slow stream is still to come."""
    more = threading.Event()

    def slowly() -> Iterable[Parsed]:
        yield block(1, "1.1")
        assert more.wait(10)
        yield block(2, "2.1")

    each = at_work(Store(), slowly()).each()
    assert next(each).block.end.line == 1
    more.set()
    assert [begun.block.end.line for begun in each] == [2]


@pytest.mark.parametrize("same", [True, False])
def test_nothing_is_begun_after_a_stop(same: bool) -> None:
    """After a stop no block is begun, not even one that was read; those at work are yielded."""
    store = Store()
    stop = threading.Event()
    names = ["1.1", "1.1", "2.1"] if same else ["1.1", "2.1", "3.1"]
    work = at_work(store, [block(n, name) for n, name in enumerate(names, 1)], stopped=stop.is_set)
    ends = []
    for begun in work.each():
        stop.set()
        ends.append(begun.block.end.line)
    assert ends == ([1] if same else [1, 2])
    assert len(store.begun) == len(ends)
    assert not work.has_begun_all
