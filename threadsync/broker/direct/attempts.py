"""When a batch that failed is sent again, on a new connection. Commands may arrive twice."""

from __future__ import annotations

from threadsync.broker.deadline import LastReply, Moment, now
from threadsync.broker.refusals import ran_out_of_time


class Attempts:
    """The attempts at one batch: two, and more as long as the broker answers others.

    The second one covers a connection that died while it was idle, and a master that is none any more. A
    server that has just refused a new connection would refuse the next. A broker that answers others while it
    keeps us waiting is busy.
    """

    def __init__(self, reply: LastReply) -> None:
        self._reply = reply
        self._is_first = True
        self._is_connected = False
        self._tried = Moment()

    def begin(self) -> None:
        """Note that an attempt begins now."""
        self._tried = now()
        self._is_connected = False

    def connected(self) -> None:
        """Note that this attempt has a connection."""
        self._is_connected = True

    def may_go_on(self, error: BaseException) -> bool:
        """Return True if the attempt that failed so is not the last."""
        was_first, self._is_first = self._is_first, False
        if was_first and self._is_connected:
            return True
        return ran_out_of_time(error) and (was_first or self._reply.at > self._tried)
