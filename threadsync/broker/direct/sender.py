"""Send commands to Valkey and Redis, for threads and for asyncio."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import copy_context
from typing import Any, Final
from weakref import WeakSet

import redis

from threadsync import send_hooks
from threadsync.address import Address
from threadsync.broker.clocks import broker_time
from threadsync.broker.deadline import LastReply, Patience
from threadsync.broker.direct.forms import Forms
from threadsync.broker.direct.loops import LoopLine
from threadsync.broker.direct.opening import Opener
from threadsync.broker.direct.parcel import Parcel
from threadsync.broker.direct.threads import MOST_COMMANDS, ThreadsLine
from threadsync.broker.direct.wire import Template, request
from threadsync.broker.in_step import is_unwritable
from threadsync.broker.messages import EVENTS, SENT, headers_of
from threadsync.command import Command
from threadsync.errors import EnqueueFailed

_KOMBUS_ALONE: Final = frozenset({"sep", "priority_steps", "body_encoding", "sentinel_fanout_compat"})
"""Transport options that change what a message or its place is, which kombu does."""

_SEPARATOR: Final = "\x06\x16"
_DEFAULT_SILENCE: Final = 0.3

Sending = tuple[Command[Any], str]
"""A command, and its task's id."""


def fits(address: Address, options: Mapping[str, Any]) -> bool:
    """Return True if commands can be sent there without kombu."""
    return (
        address.is_redis and not _KOMBUS_ALONE & options.keys() and "credential_provider" not in address.url
    )


class DirectSender:
    """Messages and connections of one broker. Safe for threads, forks and several event loops.

    Args:
        options: kombu's transport options, as ``threadsync.broker.options.broker_options`` returns them.
    """

    def __init__(self, address: Address, options: Mapping[str, Any], reply: LastReply) -> None:
        self._opener = Opener(address, options, self._declaration)
        self._reply = reply
        self._silence_seconds = float(options.get("socket_timeout") or _DEFAULT_SILENCE)
        self._prefix = str(options.get("global_keyprefix") or "")
        self._replicas = int(options.get("wait_replicas") or 0)
        self._wait_seconds = float(options.get("wait_seconds") or 0)
        self._wait = request(b"WAIT", b"%d" % self._replicas, b"%d" % int(self._wait_seconds * 1000))
        topic = _topic(options.get("fanout_prefix", True), self._opener.database)
        topic += f"{EVENTS}/{SENT}" if options.get("fanout_patterns", True) else EVENTS
        self._publish = Template(b"PUBLISH", f"{self._prefix}{topic}".encode())
        self._pushes: dict[str, Template] = {}
        self._start()
        _SENDERS.add(self)

    def _start(self) -> None:
        """Begin without a connection: at first, and in a child of ``os.fork``, whose parent keeps its own."""
        self._forms = Forms()
        self._threads = ThreadsLine(self._opener, self._reply, self._silence_seconds)
        self._loops: dict[asyncio.AbstractEventLoop, LoopLine] = {}

    def send(self, command: Command[Any], task_id: str) -> None:
        """Return when the broker has the message. Raises ``EnqueueFailed``."""
        with self._parcel([(command, task_id)]) as parcel:
            self._threads.carry(parcel)
            parcel.check()

    async def send_async(self, command: Command[Any], task_id: str) -> None:
        """The same for asyncio."""
        with self._parcel([(command, task_id)]) as parcel:
            await self._line().carry(parcel)
            parcel.check()

    def send_many(self, sendings: Sequence[Sending]) -> None:
        """Return when the broker has all messages. Raises ``EnqueueFailed`` with how many it has."""
        for start in range(0, len(sendings), MOST_COMMANDS):
            with _counted(start), self._parcel(sendings[start : start + MOST_COMMANDS]) as parcel:
                self._threads.carry(parcel)
                parcel.check()

    async def send_many_async(self, sendings: Sequence[Sending]) -> None:
        """The same for asyncio."""
        for start in range(0, len(sendings), MOST_COMMANDS):
            with _counted(start), self._parcel(sendings[start : start + MOST_COMMANDS]) as parcel:
                await self._line().carry(parcel)
                parcel.check()

    def ping(self) -> None:
        """Return when the broker answers. Raises ``EnqueueFailed``."""
        parcel = self._question()
        self._threads.carry(parcel)
        _check_answered(parcel)

    async def ping_async(self) -> None:
        """The same for asyncio."""
        parcel = self._question()
        await self._line().carry(parcel)
        _check_answered(parcel)

    def close(self) -> None:
        """Close the threads' connection, and those of event loops that are closed."""
        self._threads.close()
        self._forget_closed_loops()
        self._opener.close()

    def close_async(self) -> None:
        """Close the connection of the event loop that runs."""
        line = self._loops.pop(asyncio.get_running_loop(), None)
        if line is not None:
            line.close()

    def _line(self) -> LoopLine:
        loop = asyncio.get_running_loop()
        line = self._loops.get(loop)
        if line is None:
            self._forget_closed_loops()
            line = self._loops[loop] = LoopLine(loop, self._opener, self._reply, self._silence_seconds)
        return line

    def _forget_closed_loops(self) -> None:
        for loop in list(self._loops):
            if loop.is_closed() and (line := self._loops.pop(loop, None)):
                line.abandon()

    # --- Parcels

    def _parcel(self, sendings: Sequence[Sending]) -> AbstractContextManager[Parcel]:
        """Return the parcel of some commands, to be entered: inside is what ``add_send_hook`` has added."""
        if send_hooks.HOOKS:
            return self._hooked_parcel(sendings)
        return nullcontext(self._packed(sendings, [self._filled(*sending) for sending in sendings]))

    @contextmanager
    def _hooked_parcel(self, sendings: Sequence[Sending]) -> Iterator[Parcel]:
        with ExitStack() as stack:
            yield self._packed(sendings, [self._hooked(stack, *sending) for sending in sendings])

    def _filled(self, command: Command[Any], task_id: str) -> tuple[bytes, bytes]:
        return self._forms.filled(
            command.name, command.queue, command.arguments(), task_id, command.summary()
        )

    def _hooked(self, stack: ExitStack, command: Command[Any], task_id: str) -> tuple[bytes, bytes]:
        headers = headers_of(command.name, task_id, command.summary(), broker_time())
        # Each in a context of its own, so that one command's trace is no part of another's.
        context = copy_context()
        hooks = ExitStack()
        stack.push(lambda *failure: context.run(hooks.__exit__, *failure))
        for hook in send_hooks.HOOKS:
            context.run(hooks.enter_context, hook(command.name, headers))
        return self._forms.with_headers(headers, command.queue, command.arguments())

    def _packed(self, sendings: Sequence[Sending], texts: Sequence[tuple[bytes, bytes]]) -> Parcel:
        queues: dict[str, None] = {}
        requests = []
        for (command, _), (message, _) in zip(sendings, texts, strict=True):
            queues[command.queue] = None
            requests.append(self._push(command.queue).request(message))
        if self._replicas:
            requests.append(self._wait)
        requests += [self._publish.request(event) for _, event in texts]
        return Parcel(
            b"".join(requests),
            len(requests),
            Patience(self._reply),
            tuple(queues),
            len(sendings),
            len(sendings),
            self._replicas,
            self._wait_seconds,
        )

    def _push(self, queue: str) -> Template:
        push = self._pushes.get(queue)
        if push is None:
            push = self._pushes[queue] = Template(b"LPUSH", f"{self._prefix}{queue}".encode())
        return push

    def _question(self) -> Parcel:
        return Parcel(request(b"PING"), 1, Patience(self._reply))

    def _declaration(self, queue: str) -> tuple[bytes, int]:
        """Return what makes a queue known to those who look for it, as kombu does it."""
        member = _SEPARATOR.join((queue, "", queue)).encode()
        tables = ("_kombu.binding", "_kombu.binding_permanent")
        added = [request(b"SADD", f"{self._prefix}{table}.{queue}".encode(), member) for table in tables]
        return b"".join(added), len(added)


def _topic(prefix: object, database: int) -> str:
    """Return what Flower's topics begin with, by kombu's option ``fanout_prefix``."""
    if not prefix:
        return ""
    return (prefix if isinstance(prefix, str) else "/{db}.").format(db=database)


def _check_answered(question: Parcel) -> None:
    """Count a server that cannot write to its disk as present: it refuses PING too."""
    if not any(isinstance(told, redis.ResponseError) and is_unwritable(told) for told in question.replies):
        question.check()


@contextmanager
def _counted(before: int) -> Iterator[None]:
    """Note in an ``EnqueueFailed`` how many commands the broker has surely."""
    try:
        yield
    except EnqueueFailed as exc:
        exc.confirmed = before
        raise


_SENDERS: Final[WeakSet[DirectSender]] = WeakSet()


def _start_in_child() -> None:
    for sender in list(_SENDERS):
        sender._start()


os.register_at_fork(after_in_child=_start_in_child)
