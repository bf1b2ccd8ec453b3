"""Whether Valkey or Redis has room for new commands, and the replicas that a command waits for."""

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
    """Replicas that a publisher waits for, and those that are there; None where WAIT is refused."""

    wanted: int
    there: int | None


def replicas_of(client: Any, wanted: int) -> Replicas | None:
    """Ask by WAIT itself, which needs no INFO; None where nothing waits for any."""
    if not wanted:
        return None
    try:
        # For none: it answers at once, with the number of those that have all.
        return Replicas(wanted, int(client.execute_command("WAIT", 0, 0)))
    except NoPermissionError:
        return Replicas(wanted, None)
    except redis.ResponseError:
        # A replica itself, which has none that would do.
        return Replicas(wanted, 0)


def judge_replicas(found: Replicas | None) -> Finding:
    """Too few, and each command fails."""
    if found is None:
        return skipped(_REPLICAS, "no command waits for any: BROKER_WAIT_REPLICAS is 0")
    if found.there is None:
        return error(_REPLICAS, "its user may not WAIT, so that no command is sent", "ACL SETUSER … +wait")
    if found.there < found.wanted:
        told = f"{found.there} of the {found.wanted} that BROKER_WAIT_REPLICAS waits for: no command is sent"
        return error(_REPLICAS, told, "start replicas, or lower BROKER_WAIT_REPLICAS")
    if found.there == found.wanted:
        return info(_REPLICAS, f"{found.there}, and each is waited for: without one no command is sent")
    return ok(_REPLICAS, f"{found.there}, of which {found.wanted} are waited for")


def judge_room(memory: Memory | None, refusal: str | None) -> Finding:
    """``refusal`` is what it says to a producer now."""
    if refusal:
        fix = "mend that; workers go on by themselves, and drain it if it is full: give it memory or workers"
        return error(_ROOM, f"it takes no new command: {refusal}", fix)
    if memory is None:
        return skipped(_ROOM, "it takes commands; how much memory is left only INFO says")
    told = f"{memory.used // _MIB} MiB used, " + (
        f"maxmemory {memory.limit // _MIB} MiB" if memory.limit else "no maxmemory"
    )
    if memory.limit and memory.used > memory.limit:
        return error(_ROOM, f"full: {told}", "give it memory, or start workers, which drain it")
    if memory.share is not None and memory.share > _NEARLY_FULL:
        return warning(_ROOM, f"nearly full: {told}", "give it memory, or start workers, which drain it")
    return ok(_ROOM, told)
