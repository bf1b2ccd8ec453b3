"""One connection for an event loop: all that is sent in a turn of the loop goes in one write.

The loop watches the socket itself. A connection belongs to its loop; another loop has another one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from contextlib import suppress

from threadsync.broker.deadline import AT_ONCE_SECONDS, LastReply, Silence, now
from threadsync.broker.direct.attempts import Attempts
from threadsync.broker.direct.link import BROKEN, Link
from threadsync.broker.direct.opening import Opener, Opening
from threadsync.broker.direct.parcel import Parcel
from threadsync.broker.direct.threads import MOST_COMMANDS
from threadsync.errors import EnqueueFailed

_Sending = tuple[Parcel, "asyncio.Future[None]"]


class LoopLine:
    """A connection of one event loop. All methods are called in that loop, but for ``abandon``.

    Args:
        silence_seconds: seconds without a reply after which the connection is taken for dead.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, opener: Opener, reply: LastReply, silence_seconds: float
    ) -> None:
        self._loop = loop
        self._opener = opener
        self._reply = reply
        self._silence_seconds = silence_seconds
        self._waiting: deque[_Sending] = deque()
        self._batch: list[_Sending] = []
        self._attempts = Attempts(reply)
        self._silence = Silence(silence_seconds)
        self._is_busy = False
        self._link: Link | None = None
        self._unwritten = memoryview(b"")
        self._watches_room = False
        self._opening: Opening | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def carry(self, parcel: Parcel) -> None:
        """Return when the broker has replied to the parcel; its ``check`` tells what."""
        sending = parcel, self._loop.create_future()
        self._waiting.append(sending)
        if not self._is_busy:
            self._is_busy = True
            # What others send in this turn of the loop goes with it.
            self._loop.call_soon(self._next_batch)
        if self._timer is None:
            self._timer = self._loop.call_later(AT_ONCE_SECONDS, self._look)
        try:
            await sending[1]
        except asyncio.CancelledError:
            # What was written already is left to itself: its replies are read, and dropped.
            if sending in self._waiting:
                self._waiting.remove(sending)
            raise

    def close(self) -> None:
        """Close the connection; what has no reply yet fails."""
        closed = EnqueueFailed("the client was closed before the broker had the message")
        for sending in (*self._batch, *self._waiting):
            _end(sending, closed)
        self._waiting.clear()
        self._batch = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._opening = None
        self._is_busy = False
        self._hang_up()

    def abandon(self) -> None:
        """Close the connection of a loop that is closed itself."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    # --- One batch after the other

    def _next_batch(self) -> None:
        if self._batch:
            return
        room = MOST_COMMANDS
        while self._waiting and (self._waiting[0][0].weight <= room or not self._batch):
            sending = self._waiting.popleft()
            if not sending[1].done():
                self._batch.append(sending)
                room -= sending[0].weight
        self._is_busy = bool(self._batch)
        if self._batch:
            self._attempts = Attempts(self._reply)
            self._attempt()

    def _attempt(self) -> None:
        """Send what has no reply yet, on the connection that is there or on a new one."""
        self._batch = [sending for sending in self._batch if not sending[1].done()]
        if not self._batch:
            self._next_batch()
            return
        self._attempts.begin()
        if self._link is None:
            self._open()
        else:
            self._write(self._link)

    def _write(self, link: Link) -> None:
        self._attempts.connected()
        begun = now()
        for parcel, _ in self._batch:
            parcel.patience.begun = parcel.patience.begun or begun
        self._silence = Silence(self._silence_seconds)
        self._unwritten = memoryview(link.begin([parcel for parcel, _ in self._batch]))
        self._write_on()

    def _write_on(self) -> None:
        link = self._link
        if link is None:
            return
        try:
            sent = link.send_some(self._unwritten)
        except Exception as exc:  # noqa: BLE001 - whatever it is, its callers must hear of it
            self._failed(exc)
            return
        self._unwritten = self._unwritten[sent:]
        if self._unwritten and not self._watches_room:
            self._loop.add_writer(link.socket, self._write_on)
        elif self._watches_room and not self._unwritten:
            self._loop.remove_writer(link.socket)
        self._watches_room = bool(self._unwritten)

    def _readable(self) -> None:
        link = self._link
        try:
            while link is not None and (data := link.receive_some()) is not None:
                # Replies count, bytes do not.
                if link.feed(data):
                    self._reply.at = now()
                    self._silence.end()
                    if link.is_owed_nothing:
                        break
        except Exception as exc:  # noqa: BLE001 - whatever it is, its callers must hear of it
            self._failed(exc)
            return
        if link is not None and link.is_owed_nothing and self._batch:
            for sending in self._batch:
                _end(sending)
            self._batch = []
            self._next_batch()

    def _failed(self, exc: Exception) -> None:
        """Try the batch again, or let it fail. Without a batch the server has closed an idle connection."""
        self._hang_up()
        self._batch = [sending for sending in self._batch if not _is_over(sending)]
        if self._batch and self._attempts.may_go_on(exc):
            self._attempt()
        else:
            self._let_fail(exc)

    def _let_fail(self, exc: BaseException) -> None:
        batch, self._batch = self._batch, []
        for sending in batch:
            _end(sending, exc)
        self._next_batch()

    # --- Connections

    def _open(self) -> None:
        if self._opening is not None and self._opening.is_of_use:
            return
        opening = self._opening = Opening(self._opener)
        opening.future.add_done_callback(self._opened_elsewhere)

    def _opened_elsewhere(self, future: Future[Link]) -> None:
        # In the opening's thread. The loop may be closed by now.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._opened, future)

    def _opened(self, future: Future[Link]) -> None:
        if self._opening is None or future is not self._opening.future:
            return
        self._opening = None
        error = future.exception()
        if error is None:
            link = self._link = future.result()
            link.never_wait()
            self._loop.add_reader(link.socket, self._readable)
            if self._batch:
                self._attempt()
        elif isinstance(error, BROKEN):
            self._failed(error)
        else:
            self._let_fail(error)

    def _hang_up(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            self._loop.remove_reader(link.socket)
            self._loop.remove_writer(link.socket)
            self._watches_room = False
            link.close()

    # --- Deadlines

    def _look(self) -> None:
        """Let those fail whose patience has ended, and give up a connection that brings nothing."""
        self._timer = None
        # A loop that stood still may have the replies in its socket.
        self._readable()
        if not self._is_busy:
            return
        wait = AT_ONCE_SECONDS
        is_given_up = False
        for sending in (*self._batch, *self._waiting):
            try:
                if not sending[1].done():
                    wait = min(wait, sending[0].patience.patience())
            except EnqueueFailed as exc:
                _end(sending, exc)
                is_given_up |= sending in self._batch
        if is_given_up:
            self._give_up()
        elif self._link is not None and self._batch:
            try:
                wait = min(wait, self._silence.left())
            except BROKEN as exc:
                self._failed(exc)
        if self._is_busy and self._timer is None:
            self._timer = self._loop.call_later(wait, self._look)

    def _give_up(self) -> None:
        """Hang up on a broker that was silent for too long; those who still wait try again."""
        if self._opening is not None:
            self._opening.cut()
        self._hang_up()
        self._attempt()


def _is_over(sending: _Sending) -> bool:
    parcel, future = sending
    if parcel.is_answered:
        _end(sending)
    return future.done()


def _end(sending: _Sending, failure: BaseException | None = None) -> None:
    parcel, future = sending
    if not future.done():
        parcel.failure = failure
        future.set_result(None)
