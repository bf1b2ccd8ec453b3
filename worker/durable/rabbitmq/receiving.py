"""Receive messages of RabbitMQ that may be too large or damaged, where py-amqp ends connection or worker.

py-amqp gathers the parts of a message and then joins them, twice its size. What does not fit is an error in
the middle of the stream, and comes again with the next connection. Here room is made when the size is known,
before the first part comes; where there is none, parts are let go of as they come, and ``Arriving.missing``
says of how many bytes. A suspect larger than any command is not gathered either: to receive it may be what
ended the process that did (``worker.durable.deliveries``).
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from struct import unpack_from
from typing import Any, Final

import amqp
from amqp import method_framing, spec
from amqp.exceptions import UnexpectedFrame

from worker.durable.deliveries import KEPT_BYTES, LARGEST_SUSPECT, begin_digest, is_suspect, name_of

_METHOD, _HEADER, _BODY = 1, 2, 3
_DELIVER: Final = spec.Basic.Deliver
_WITH_CONTENT: Final = (spec.Basic.Return, spec.Basic.Deliver, spec.Basic.GetOk)
_SIZE_AT: Final = 4
"""Offset of a content's size, eight bytes, in its header."""

_TAG_AT: Final = 4
"""Where a delivery has its consumer's tag: its length, a byte; itself; eight bytes more; ``redelivered``."""


class Arriving(amqp.Message):
    """A message that has not arrived in full.

    ``missing``: bytes of the body that were let go of; if any, ``content_name`` stands for all of it.
    """

    def __init__(self, frame_method: Any, frame_args: bytes) -> None:
        super().__init__(frame_method=frame_method, frame_args=frame_args)
        self.frame_args: bytes = frame_args
        self.missing = 0
        self.content_name = ""
        self._digest: Any = None
        self._gathered = BytesIO()

    def inbound_header(self, buf: bytes, offset: int = 0) -> int:
        """Read a message's size and properties; with damaged properties it has none, and is junk."""
        try:
            amqps: Any = super()
            end: int = amqps.inbound_header(buf, offset)
        # Text that is none, an unknown type: whatever a publisher writes there, the broker passes it on.
        except Exception:  # noqa: BLE001
            self.properties = {}
            (self.body_size,) = unpack_from(">Q", buf, offset + _SIZE_AT)
            self.ready = not self.body_size
            end = len(buf)
        return end

    def inbound_body(self, buf: bytes) -> None:
        """Take the next part of a message's body."""
        if not self.body_received:
            if len(buf) >= self.body_size:
                self.body, self.ready = buf, True
                return
            if not self._has_room():
                self._digest = begin_digest(self)  # type: ignore[arg-type]  # it has what is asked for
        self.body_received += len(buf)
        self._take(buf)
        if self.body_received >= self.body_size:
            self._finish()

    def _has_room(self) -> bool:
        if self.body_size > LARGEST_SUSPECT and self._is_suspect():
            return False
        try:
            # All of it now, and no more: else it grows by steps.
            self._gathered.seek(self.body_size - 1)
            self._gathered.write(bytes(1))
        except MemoryError:
            return False
        finally:
            self._gathered.seek(0)
        return True

    def _take(self, buf: bytes) -> None:
        if self._digest is None:
            self._gathered.write(buf)
        else:
            self._digest.update(buf)
            self._gathered.write(buf[: max(0, KEPT_BYTES - self._gathered.tell())])

    def _finish(self) -> None:
        # Not a copy.
        self.body = self._gathered.getvalue()
        if self._digest is not None:
            self.missing, self.content_name = self.body_size - len(self.body), name_of(self._digest)
        self._gathered, self.ready = BytesIO(), True

    def _is_suspect(self) -> bool:
        if self.frame_method != _DELIVER:
            return False
        bits = self.frame_args[_TAG_AT + 1 + self.frame_args[_TAG_AT] + 8]
        self.delivery_info = {"redelivered": bool(bits & 1)}
        return is_suspect(self)  # type: ignore[arg-type]  # it has what is asked for


def frame_handler(connection: Any, callback: Callable[..., Any]) -> Callable[[Any], bool]:
    """Return the handler of a connection's frames: ours for those of messages, py-amqp's for others."""
    others = method_framing.frame_handler(connection, callback)
    arriving: dict[int, Arriving] = {}

    def on_frame(frame: Any) -> bool:
        kind, channel, buf = frame
        message = arriving.get(channel)
        if message is None:
            method = unpack_from(">HH", buf, 0) if kind == _METHOD else None
            if method not in _WITH_CONTENT:
                return bool(others(frame))
            connection.bytes_recv += 1
            arriving[channel] = Arriving(method, buf)
            return False
        connection.bytes_recv += 1
        if kind != (_BODY if message.body_size else _HEADER):
            raise UnexpectedFrame(f"frame of type {kind} within a message")
        (message.inbound_header if kind == _HEADER else message.inbound_body)(buf)
        if message.ready:
            del arriving[channel]
            callback(channel, message.frame_method, message.frame_args, message)
        return message.ready

    return on_frame
