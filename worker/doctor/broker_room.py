"""Check that Valkey or Redis has room for new commands, and the replicas that a command waits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import redis
from redis.exceptions import NoPermissionError

from worker.doctor.finding import Finding, error, info, ok, skipped, warning
from worker.operate.memory import Memory

_ROOM: Final = "broker: room"
_REPLICAS: Final = "broker: replicas"
_NEARLY_FULL: Final = 0.8
_MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class Replicas:
    """Numbers of replicas: wanted by publishers, and there; None where WAIT is refused."""

    wanted: int
    there: int | None


def replicas_of(client: Any, wanted: int) -> Replicas | None:
    """Count replicas by WAIT, which needs no INFO; None where no replica is wanted."""
    if not wanted:
        return None
    try:
        # WAIT for none returns at once, with the number of replicas in sync.
        return Replicas(wanted, int(client.execute_command("WAIT", 0, 0)))
    except NoPermissionError:
        return Replicas(wanted, None)
    except redis.ResponseError:
        # It is a replica itself.
        return Replicas(wanted, 0)


def judge_replicas(found: Replicas | None) -> Finding:
    """Judge the replicas: with too few, each command fails."""
    if found is None:
        return skipped(_REPLICAS, "not wanted: BROKER_WAIT_REPLICAS is 0")
    if found.there is None:
        return error(_REPLICAS, "its user may not WAIT, so no command can be sent", "ACL SETUSER … +wait")
    if found.there < found.wanted:
        told = f"{found.there} of {found.wanted} (BROKER_WAIT_REPLICAS): no command can be sent"
        return error(_REPLICAS, told, "start replicas, or lower BROKER_WAIT_REPLICAS")
    if found.there == found.wanted:
        return info(_REPLICAS, f"{found.there}, and all are needed: if one stops, no command can be sent")
    return ok(_REPLICAS, f"{found.there}, of which {found.wanted} are needed")


def judge_room(memory: Memory | None, refusal: str | None) -> Finding:
    """Judge the memory that is left. ``refusal`` is the error that a producer gets now."""
    if refusal:
        fix = "fix that; workers continue by themselves. If it is full, give it memory or start workers"
        return error(_ROOM, f"it takes no new command: {refusal}", fix)
    if memory is None:
        return skipped(_ROOM, "it takes commands; the memory left is unknown without INFO")
    told = f"{memory.used // _MIB} MiB used, " + (
        f"maxmemory {memory.limit // _MIB} MiB" if memory.limit else "no maxmemory"
    )
    if memory.limit and memory.used > memory.limit:
        return error(_ROOM, f"full: {told}", "give it memory, or start workers to drain it")
    if memory.share is not None and memory.share > _NEARLY_FULL:
        return warning(_ROOM, f"nearly full: {told}", "give it memory, or start workers to drain it")
    return ok(_ROOM, told)
