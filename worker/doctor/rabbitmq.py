"""Check RabbitMQ: version, our rights, room, and kinds of queues.

It is asked over AMQP alone, which does not show policies, such as a delivery limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast
from uuid import uuid4

import amqp
from amqp.exceptions import AccessRefused, NotFound, PreconditionFailed
from kombu.transport import pyamqp
from kombu.utils.text import version_string_as_tuple

from threadsync.broker.errors import BROKER_ERRORS, BrokerBlocked
from threadsync.broker.rabbitmq import ConfirmingChannel
from threadsync.broker.rabbitmq_clock import whole_seconds
from threadsync.liveness.rabbitmq import STREAM
from threadsync.queues import QUEUES
from worker.doctor.clocks import judge_clock
from worker.doctor.finding import Finding, error, ok, skipped, warning

CHECKS: Final = ("broker: queues", "broker: delivery limit")

_SHARED: Final = ("broker: version", "broker: room", "broker: permissions", "broker: clock")
_LEAST: Final = (3, 10)
_LIMITS_BY_DEFAULT: Final = (4, 0)
_GRANT: Final = "grant the rights of docs/operate/brokers.md: rabbitmqctl set_permissions"


def examine_rabbitmq(channel: ConfirmingChannel) -> Iterator[Finding]:
    """Run all checks but the connection's."""
    properties: Mapping[str, Any] = channel.connection.server_properties
    yield judge_version(str(properties.get("product")), str(properties.get("version")))
    room = judge_room(*_takes_messages(channel))
    if room.level == "error":
        # With an alarm it may not respond on a connection.
        yield room
        others = ("broker: permissions", "broker: clock", *CHECKS)
        yield from (skipped(check, "it takes no messages; try again when it does") for check in others)
        return
    refusal = _refusal(channel)
    yield judge_permissions(refusal)
    if refusal:
        few = "our rights are missing"
        yield from (skipped(check, few) for check in ("broker: room", "broker: clock"))
    else:
        yield room
        yield _clock(channel)
    kinds = {queue: _kind(channel, queue) for queue in QUEUES}
    yield judge_queues(kinds)
    yield judge_limit(str(properties.get("version")), kinds)


def judge_version(product: str, version: str) -> Finding:
    """Judge the version: streams and safe dead-lettering are needed."""
    if product != "RabbitMQ":
        fix = "use RabbitMQ: threadsync is tested with no other AMQP broker"
        return warning("broker: version", f"{product} {version}, not RabbitMQ", fix)
    if _numbers(version) < _LEAST:
        fix = "upgrade to RabbitMQ 3.10 or newer"
        return error("broker: version", f"RabbitMQ {version} is too old", fix)
    return ok("broker: version", f"RabbitMQ {version}")


def judge_permissions(refusal: str | None) -> Finding:
    if refusal:
        return error("broker: permissions", f"its user lacks rights that we need: {refusal}", _GRANT)
    return ok("broker: permissions", "its user has all rights that we need")


def judge_room(takes: bool, has_alarm: bool = False) -> Finding:
    """Judge whether RabbitMQ takes messages: with an alarm it takes none until there is room."""
    if takes:
        return ok("broker: room", "it confirms messages; AMQP does not show how much memory and disk is left")
    fix = "run rabbitmq-diagnostics alarms; give it memory or disk, or start workers to drain it"
    told = "a memory or disk alarm is set" if has_alarm else "perhaps a memory or disk alarm"
    return error("broker: room", f"it did not confirm a message: {told}", fix)


def judge_queues(kinds: Mapping[str, str | None]) -> Finding:
    """Judge the kind of each queue; None for one that does not exist yet."""
    missing = [queue for queue, kind in kinds.items() if kind is None]
    if missing:
        return ok("broker: queues", f"not created yet, the first worker creates them: {', '.join(missing)}")
    if len(set(kinds.values())) > 1:
        told = ", ".join(f"{queue} {kind}" for queue, kind in kinds.items())
        fix = "use one kind: new queues get the vhost's default queue type"
        return warning("broker: queues", f"of different kinds: {told}", fix)
    return ok("broker: queues", f"{next(iter(kinds.values()))} queues")


def judge_limit(version: str, kinds: Mapping[str, str | None]) -> Finding:
    """Judge the delivery limit: by default RabbitMQ 4 drops a quorum queue's message at its 21st delivery."""
    check = "broker: delivery limit"
    if "quorum" not in kinds.values() or _numbers(version) < _LIMITS_BY_DEFAULT:
        return ok(check, "none by default")
    return skipped(check, "AMQP does not show it; set it as docs/operate/brokers.md says")


def _numbers(version: str) -> tuple[int, ...]:
    found: tuple[Any, ...] = tuple(version_string_as_tuple(version))
    return tuple(part for part in found[:2] if isinstance(part, int))


def _refusal(channel: ConfirmingChannel) -> str | None:
    """Try to create, write and read a queue, and to see our stream; return the refusal."""
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
        # The first worker creates it.
        return None
    finally:
        if own.is_open:
            own.close()
    return None


def _takes_messages(channel: ConfirmingChannel) -> tuple[bool, bool]:
    """Try to publish: return whether it confirms, and if not, whether it reports an alarm."""
    # kombu's, which py-amqp's connection knows and its stubs do not.
    connection = cast(Any, channel.connection).client.clone()
    try:
        own = connection.default_channel
        name = f"threadsync.doctor.{uuid4().hex}"
        own.queue_declare(name, exclusive=True, durable=False, arguments={"x-queue-type": "classic"})
        # RabbitMQ reads one message of each connection before it blocks.
        for _ in range(2):
            own.basic_publish(amqp.Message(b""), "", name)
    except AccessRefused:
        # Rights are another check.
        return True, False
    except BROKER_ERRORS as exc:
        return False, isinstance(exc.__cause__, BrokerBlocked)
    finally:
        # Without a close handshake, which a broker with an alarm would not complete.
        connection.collect()
    return True, False


def _clock(channel: ConfirmingChannel) -> Finding:
    asked = datetime.now(UTC)
    told = datetime.fromtimestamp(whole_seconds(channel), UTC)
    # It has no fractions of a second.
    answered = datetime.now(UTC)
    return judge_clock("broker: clock", "the broker", told, asked - timedelta(seconds=1), answered)


def _kind(channel: ConfirmingChannel, queue: str) -> str | None:
    """Find ``quorum`` or ``classic``: AMQP does not show it, but refuses to declare it as another kind."""
    own = channel.connection.channel()
    try:
        pyamqp.Channel.queue_declare(own, queue, passive=True)
        pyamqp.Channel.queue_declare(
            own, queue, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"}
        )
    except NotFound:
        return None
    except PreconditionFailed as exc:
        # A quorum queue with other arguments is refused for those, a classic one for its kind.
        return "classic" if "x-queue-type" in str(exc.reply_text) else "quorum"
    except AccessRefused:
        return "unknown"
    finally:
        if own.is_open:
            own.close()
    return "quorum"
