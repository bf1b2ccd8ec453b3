"""RabbitMQ: its version, our rights, whether it takes messages, and what its queues are.

It is asked over AMQP alone, so what only its policies say (a delivery limit above all) cannot be seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import amqp
from amqp.exceptions import AccessRefused, NotFound, PreconditionFailed
from kombu.transport import pyamqp
from kombu.utils.text import version_string_as_tuple

from worker.broker_errors import BROKER_ERRORS
from worker.doctor.clocks import judge_clock
from worker.doctor.finding import Finding, error, ok, skipped, warning
from worker.rabbitmq.clock import whole_seconds
from worker.rabbitmq.publishing import ConfirmingChannel
from worker.rabbitmq.signs import STREAM
from worker.signs import QUEUES

CHECKS: Final = ("broker: queues", "broker: delivery limit")

_SHARED: Final = ("broker: version", "broker: room", "broker: permissions", "broker: clock")
_LEAST: Final = (3, 10)
_LIMITS_BY_DEFAULT: Final = (4, 0)
_GRANT: Final = "give it the rights of docs/operations.md: rabbitmqctl set_permissions"


def examine_rabbitmq(channel: ConfirmingChannel) -> Iterator[Finding]:
    """All but whether it can be reached."""
    properties: Mapping[str, Any] = channel.connection.server_properties
    yield judge_version(str(properties.get("product")), str(properties.get("version")))
    refusal = _refusal(channel)
    yield judge_permissions(refusal)
    if refusal:
        yield from (skipped(check, "our rights are too few") for check in ("broker: room", "broker: clock"))
    else:
        yield judge_room(_takes_messages(channel))
        yield _clock(channel)
    kinds = {queue: _kind(channel, queue) for queue in QUEUES}
    yield judge_queues(kinds)
    yield judge_limit(str(properties.get("version")), kinds)


def judge_version(product: str, version: str) -> Finding:
    """Ours needs streams, and delays that pass on a message only when it is there."""
    if product != "RabbitMQ":
        fix = "threadsync is tested with RabbitMQ alone"
        return warning("broker: version", f"{product} {version}, not RabbitMQ", fix)
    if _numbers(version) < _LEAST:
        fix = "upgrade: RabbitMQ 3.10 is the oldest that we are tested on"
        return error("broker: version", f"RabbitMQ {version} is too old", fix)
    return ok("broker: version", f"RabbitMQ {version}")


def judge_permissions(refusal: str | None) -> Finding:
    if refusal:
        return error("broker: permissions", f"its user may not do all that we do: {refusal}", _GRANT)
    return ok("broker: permissions", "its user may do what we do")


def judge_room(takes: bool) -> Finding:
    """With an alarm it takes no message until there is room."""
    if takes:
        return ok("broker: room", "it confirms what it is sent")
    fix = "see rabbitmq-diagnostics alarms; give it memory or disk, or start workers that drain it"
    return error("broker: room", "it did not confirm a message: an alarm of memory or disk?", fix)


def judge_queues(kinds: Mapping[str, str | None]) -> Finding:
    """``kinds`` by queue; None for one that is not there yet."""
    missing = [queue for queue, kind in kinds.items() if kind is None]
    if missing:
        return ok("broker: queues", f"not there yet, the first worker makes them: {', '.join(missing)}")
    if len(set(kinds.values())) > 1:
        told = ", ".join(f"{queue} {kind}" for queue, kind in kinds.items())
        fix = "make them of one kind: a vhost's default queue type is what new queues get"
        return warning("broker: queues", f"of different kinds: {told}", fix)
    return ok("broker: queues", f"{next(iter(kinds.values()))} queues")


def judge_limit(version: str, kinds: Mapping[str, str | None]) -> Finding:
    """Quorum queues of RabbitMQ 4 drop a message at its 21st delivery, unless a policy says otherwise."""
    check = "broker: delivery limit"
    if "quorum" not in kinds.values() or _numbers(version) < _LIMITS_BY_DEFAULT:
        return ok(check, "none by default")
    return skipped(check, "AMQP does not show it; set it as docs/operations.md says")


def _numbers(version: str) -> tuple[int, ...]:
    found: tuple[Any, ...] = tuple(version_string_as_tuple(version))
    return tuple(part for part in found[:2] if isinstance(part, int))


def _refusal(channel: ConfirmingChannel) -> str | None:
    """What it says against making a queue, writing to it and reading from it, and against our stream."""
    name = f"threadsync.doctor.{uuid4().hex}"
    own: Any = channel.connection.channel()
    try:
        own.queue_declare(name, exclusive=True, durable=False, arguments={"x-queue-type": "classic"})
        own.publish_unconfirmed(amqp.Message(b""), "", name)
        own.basic_get(name, no_ack=True)
        own.queue_declare(STREAM, passive=True)
    except AccessRefused as exc:
        return str(exc.reply_text)
    except NotFound:
        # The first worker makes it.
        return None
    finally:
        if own.is_open:
            own.close()
    return None


def _takes_messages(channel: ConfirmingChannel) -> bool:
    own = channel.connection.channel()
    try:
        name = f"threadsync.doctor.{uuid4().hex}"
        own.queue_declare(name, exclusive=True, durable=False, arguments={"x-queue-type": "classic"})
        own.basic_publish(amqp.Message(b""), "", name)
    except BROKER_ERRORS:
        return False
    return True


def _clock(channel: ConfirmingChannel) -> Finding:
    asked = datetime.now(UTC)
    told = datetime.fromtimestamp(whole_seconds(channel), UTC)
    # It tells no fractions of a second: it may have been as much later.
    answered = datetime.now(UTC)
    return judge_clock("broker: clock", "the broker", told, asked - timedelta(seconds=1), answered)


def _kind(channel: ConfirmingChannel, queue: str) -> str | None:
    """``quorum`` or ``classic``: AMQP does not tell, but refuses to declare it as what it is not."""
    own = channel.connection.channel()
    try:
        pyamqp.Channel.queue_declare(own, queue, passive=True)
        pyamqp.Channel.queue_declare(
            own, queue, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"}
        )
    except NotFound:
        return None
    except PreconditionFailed as exc:
        # One with other arguments is refused for those; a classic one for its kind.
        return "classic" if "x-queue-type" in str(exc.reply_text) else "quorum"
    except AccessRefused:
        return "unknown"
    finally:
        if own.is_open:
            own.close()
    return "quorum"
