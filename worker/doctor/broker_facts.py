"""Read from Valkey or Redis the facts that the doctor judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import redis
from kombu.utils.encoding import bytes_to_str

from threadsync.broker.ownership import KEY
from threadsync.broker.producer import ProducerChannel
from threadsync.config import Settings
from threadsync.liveness.heartbeats import refusal_of
from threadsync.queues import QUEUES
from worker.doctor.broker_rights import excess_rights, missing_rights
from worker.doctor.broker_room import Replicas, replicas_of
from worker.operate.rights.broker_users import BrokerUser

_TYPES: Final = """
local types = {}
for i = 1, #KEYS do
  types[i] = redis.call('TYPE', KEYS[i]).ok
end
return types
"""


@dataclass(frozen=True)
class BrokerFacts:
    """Facts read from the server. ``appendfsync`` is None where it may not be read."""

    info: Mapping[str, Any]
    appendfsync: str | None
    time: datetime
    asked: datetime
    answered: datetime
    missing: tuple[str, ...] = ()
    user: BrokerUser | None = None
    excess: tuple[str, ...] = ()
    wrong_keys: Mapping[str, str] | None = field(default_factory=dict)
    refusal: str | None = None
    writes_refused: str | None = None
    replicas: Replicas | None = None


def facts_of(channel: ProducerChannel, settings: Settings, user: BrokerUser | None) -> BrokerFacts:
    """Ask for all facts. ``user``: whose rights are looked for."""
    with channel.conn_or_acquire() as client:
        asked = datetime.now(UTC)
        seconds, micros = client.execute_command("TIME")
        answered = datetime.now(UTC)
        refusal: str | None = None
        missing: tuple[str, ...] = ()
        excess: tuple[str, ...] = ()
        wrong_keys: Mapping[str, str] | None = None
        try:
            shared = settings.result_backend_url == settings.broker_url
            missing = missing_rights(channel, results=shared, user=user)
            excess = excess_rights(channel, user) if user else ()
            # Other users have no rights on all keys.
            looks = user in (None, "worker") and not _forbids_to_look(missing)
            wrong_keys = _wrong_keys(channel) if looks else None
        except redis.ResponseError as exc:
            refusal = str(exc)
        return BrokerFacts(
            info=_info(client),
            appendfsync=_appendfsync(client),
            time=datetime.fromtimestamp(int(seconds) + int(micros) / 1e6, UTC),
            asked=asked,
            answered=answered,
            missing=missing,
            user=user,
            excess=excess,
            wrong_keys=wrong_keys,
            refusal=refusal,
            writes_refused=None if refusal else refusal_of(channel),
            replicas=replicas_of(client, settings.broker_wait_replicas),
        )


def _forbids_to_look(missing: tuple[str, ...]) -> bool:
    return any(right.startswith("TYPE ") for right in missing)


def _info(client: Any) -> Mapping[str, Any]:
    try:
        return dict(client.info("all") or client.info())
    except redis.ResponseError:
        return {}


def _appendfsync(client: Any) -> str | None:
    try:
        return str(client.config_get("appendfsync").get("appendfsync"))
    except redis.ResponseError:
        return None


def _wrong_keys(channel: ProducerChannel) -> Mapping[str, str]:
    expected = {**dict.fromkeys(QUEUES, "list"), "threadsync.signs": "hash"}
    expected |= {"threadsync.beat": "hash", KEY: "string"}
    found = channel.run_script(_TYPES, list(expected), [])
    # The first three keys of each script: unacked, its index, its deliveries.
    kinds = {"unacked": "hash", "unacked_index": "zset", "unacked_deliveries": "hash", **expected}
    pairs = zip(kinds.items(), map(bytes_to_str, found), strict=True)
    return {key: kind for (key, right), kind in pairs if kind not in (right, "none")}
