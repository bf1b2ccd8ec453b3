"""One connection for all threads: the one whose turn it is writes and reads for those that wait.

A thread that sends while no other does is served at once, by itself. While one writes and reads, others put
their parcels beside it; the next turn is for all of them, in one write (group commit).
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import Final

from threadsync.broker.deadline import AT_ONCE_SECONDS, LastReply, Patience, Silence, now
from threadsync.broker.direct.attempts import Attempts
from threadsync.broker.direct.link import BROKEN, Link
from threadsync.broker.direct.opening import Opener, Opening
from threadsync.broker.direct.parcel import Parcel
from threadsync.errors import EnqueueFailed, ThreadsyncError

MOST_COMMANDS: Final = 64
"""Most commands on their way at once: what a frozen broker carries out later although its callers failed."""

_FAILURES: Final = (*BROKEN, ThreadsyncError)
"""Errors of ours. Any other was raised into the thread, such as Celery's soft time limit, and is its own."""


class _Waiting:
    """A parcel whose thread waits for its turn, or for another thread to have sent it."""

    def __init__(self, parcel: Parcel) -> None:
        self.parcel = parcel
        self.has_turn = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def wait(self, seconds: float) -> bool:
        return self._gate.acquire(timeout=seconds)

    def wake(self) -> None:
        self._gate.release()


class ThreadsLine:
    """A connection that threads share. Not for use after a fork.

    Args:
        silence_seconds: seconds without a reply after which the connection is taken for dead.
    """

    def __init__(self, opener: Opener, reply: LastReply, silence_seconds: float) -> None:
        self._opener = opener
        self._reply = reply
        self._silence_seconds = silence_seconds
        self._lock = threading.Lock()
        self._is_busy = False
        self._is_closing = False
        self._waiting: deque[_Waiting] = deque()
        self._link: Link | None = None
        self._opening: Opening | None = None

    def carry(self, parcel: Parcel) -> None:
        """Return when the broker has replied to the parcel; its ``check`` tells what."""
        with self._lock:
            waiting = _Waiting(parcel) if self._is_busy else None
            if waiting:
                self._waiting.append(waiting)
            self._is_busy = True
        if waiting is None or self._has_turn(waiting):
            self._take_turn(parcel)

    def close(self) -> None:
        """Close the connection when what is on its way has its replies."""
        with self._lock:
            self._is_closing = self._is_busy
            if not self._is_busy:
                self._opening = None
                self._hang_up()

    def _has_turn(self, waiting: _Waiting) -> bool:
        """Wait; return True if it is this thread's turn, False if its parcel is done."""
        patience = waiting.parcel.patience
        try:
            while not waiting.wait(patience.patience()):
                pass
        except EnqueueFailed as exc:
            self._leave(waiting)
            if not waiting.parcel.is_answered:
                waiting.parcel.failure = exc
            return False
        except BaseException:
            self._leave(waiting)
            raise
        return waiting.has_turn

    def _leave(self, waiting: _Waiting) -> None:
        """Wait no longer; a turn that came meanwhile is the next one's."""
        with self._lock:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
        if waiting.has_turn:
            self._pass_on([])

    def _take_turn(self, parcel: Parcel) -> None:
        others: list[_Waiting] = []
        try:
            others = self._others(MOST_COMMANDS - parcel.weight)
            self._exchange([parcel, *(other.parcel for other in others)], parcel.patience)
        except _FAILURES as exc:
            self._hang_up()
            for failed in (parcel, *(other.parcel for other in others)):
                if not failed.is_answered:
                    failed.failure = exc
        except BaseException:
            # The others' next turn sends what has no reply.
            self._hang_up()
            with self._lock:
                undone = [other for other in others if not other.parcel.is_answered]
                self._waiting.extendleft(reversed(undone))
                others = [other for other in others if other.parcel.is_answered]
            raise
        finally:
            self._pass_on(others)

    def _others(self, room: int) -> list[_Waiting]:
        taken: list[_Waiting] = []
        with self._lock:
            while self._waiting and self._waiting[0].parcel.weight <= room:
                taken.append(self._waiting.popleft())
                room -= taken[-1].parcel.weight
        return taken

    def _pass_on(self, done: list[_Waiting]) -> None:
        """Give the turn to the next one, and wake those who are done."""
        with self._lock:
            following = self._waiting.popleft() if self._waiting else None
            if following:
                following.has_turn = True
            else:
                self._is_busy = False
                if self._is_closing:
                    self._is_closing = False
                    self._hang_up()
        if following:
            following.wake()
        for one in done:
            one.wake()

    def _exchange(self, parcels: list[Parcel], patience: Patience) -> None:
        attempts = Attempts(self._reply)
        while True:
            attempts.begin()
            try:
                link = self._connected(patience)
                attempts.connected()
                self._converse(link, parcels, patience)
            except BROKEN as exc:
                self._hang_up()
                if not attempts.may_go_on(exc):
                    raise
                parcels = [parcel for parcel in parcels if not parcel.is_answered]
            else:
                return

    def _converse(self, link: Link, parcels: list[Parcel], patience: Patience) -> None:
        begun = now()
        for parcel in parcels:
            parcel.patience.begun = parcel.patience.begun or begun
        silence = Silence(self._silence_seconds)
        link.write(link.begin(parcels), self._silence_seconds)
        wait = AT_ONCE_SECONDS
        while True:
            data = link.read(wait)
            # Replies count, bytes do not.
            if data is not None and link.feed(data):
                self._reply.at = now()
                if link.is_owed_nothing:
                    return
                silence.end()
            wait = min(patience.patience(), silence.left())

    def _connected(self, patience: Patience) -> Link:
        if self._link is None:
            self._link = self._opened(patience)
        return self._link

    def _opened(self, patience: Patience) -> Link:
        opening = self._opening
        if opening is None or not opening.is_of_use:
            opening = self._opening = Opening(self._opener)
        try:
            while not opening.future.done():
                # Only the wait raises this here.
                with suppress(TimeoutError):
                    opening.future.exception(patience.patience())
        except BaseException:
            opening.cut()
            raise
        self._opening = None
        return opening.future.result()

    def _hang_up(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
