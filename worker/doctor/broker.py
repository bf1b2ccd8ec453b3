"""Check that the broker answers, keeps messages, and grants the rights that we need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import redis
from celery import Celery

from threadsync.broker.errors import BROKER_ERRORS
from threadsync.broker.producer import ProducerChannel
from threadsync.broker.rabbitmq import ConfirmingChannel
from threadsync.config import Settings
from threadsync.errors import InvalidSettings
from worker.doctor.app import app_of
from worker.doctor.broker_facts import BrokerFacts, facts_of
from worker.doctor.broker_room import judge_replicas, judge_room
from worker.doctor.clocks import judge_clock
from worker.doctor.finding import Finding, error, info, ok, skipped, warning
from worker.doctor.holes import hole_in
from worker.doctor.rabbitmq import examine_rabbitmq
from worker.operate.memory import Memory
from worker.operate.rights.broker_users import BrokerUser, login_of, user_in

CHECKS: Final = (
    "broker: reachable",
    "broker: version",
    "broker: role",
    "broker: eviction",
    "broker: append-only file",
    "broker: room",
    "broker: permissions",
    "broker: user",
    "broker: replicas",
    "broker: keys",
    "broker: visibility timeout",
    "broker: clock",
)
_OF_INFO: Final = ("broker: version", "broker: role", "broker: eviction", "broker: append-only file")
"""Names of the checks that need INFO."""

_LEAST: Final = {"redis": (7, 0), "valkey": (8, 0)}
_LATE_SECONDS: Final = 60
_SHOWN: Final = 4
_CLUSTER: Final = "it is a Cluster, and our scripts need their keys on one server"


def examine_broker(settings: Settings, user: BrokerUser | None = None) -> Iterator[Finding]:
    """Run all checks, once; do not wait for a broker that is away.

    ``user``: the user whose rights the login should have. None: the user of the URL, if it is one of ours.
    """
    user = user or user_in(settings.broker_url)
    if not settings.broker_url:
        yield from (skipped(check, "CELERY_BROKER_URL is not set") for check in CHECKS)
        return
    app = app_of(settings)
    try:
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
            channel = connection.default_channel
            if isinstance(channel, ConfirmingChannel):
                yield ok("broker: reachable", "it answers")
                yield from examine_rabbitmq(channel)
                return
            if not isinstance(channel, ProducerChannel):
                yield ok("broker: reachable", f"{connection.transport.driver_type} answers")
                only = "only Valkey, Redis and RabbitMQ are checked; see docs/operate/brokers.md for others"
                yield from (skipped(check, only) for check in CHECKS[1:])
                return
            facts = facts_of(channel, settings, user)
    except (*BROKER_ERRORS, InvalidSettings) as exc:
        yield judge_refusal(exc)
        yield from (skipped(check, "the broker does not answer") for check in CHECKS[1:])
        return
    yield ok("broker: reachable", "it answers")
    yield from judge_server(facts)
    yield judge_visibility(*_limits(app))


def _limits(app: Celery) -> tuple[float, float]:
    """Return the visibility timeout, and the hard time limit of commands on sessions and channels."""
    options = app.conf.broker_transport_options
    return float(options.get("visibility_timeout", 3600)), float(app.conf.task_time_limit)


def judge_refusal(exc: Exception) -> Finding:
    """Judge why the connection failed."""
    check, words = "broker: reachable", str(exc)
    if isinstance(exc, InvalidSettings):
        return error(check, words, "name a single server, or Sentinels, in CELERY_BROKER_URL")
    if any(word in words for word in ("WRONGPASS", "NOAUTH", "invalid username-password", "ACCESS_REFUSED")):
        return error(check, "it rejects our password", "correct user and password in CELERY_BROKER_URL")
    if "loading the dataset" in words or isinstance(exc, redis.BusyLoadingError):
        return error(check, "it is still loading its data", "wait until it is done, then run doctor again")
    if "MASTERDOWN" in words or "Link with MASTER" in words:
        fix = "bring its master back, or name the master in CELERY_BROKER_URL"
        return error(check, f"it is a replica without its master: {words}", fix)
    if "BUSY " in words:
        return error(check, f"a script blocks it: {words}", "run SCRIPT KILL, and find out who runs it")
    if "max number of clients" in words:
        return error(check, "it has no free connection", "raise maxclients, or close unused connections")
    if "NOPERM" in words or "no permissions" in words.lower():
        return error(check, f"its user may not connect: {words}", "set the ACL of docs/operate/brokers.md")
    if "NOT_ALLOWED" in words:
        fix = "rabbitmqctl add_vhost, set_permissions; in CELERY_BROKER_URL the vhost / is written %2F"
        return error(check, f"its user may not enter the virtual host: {words}", fix)
    if "certificate" in words.lower() or "ssl" in words.lower():
        fix = "set ssl_ca_certs in the URL to its certificate authority, and check the host name"
        return error(check, f"TLS fails: {words}", fix)
    return error(
        check,
        f"it does not answer ({type(exc).__name__}: {words})",
        "start it, and check host and port in CELERY_BROKER_URL, and firewalls",
    )


def judge_server(facts: BrokerFacts) -> Iterator[Finding]:
    """Judge the server by its own facts."""
    info = facts.info
    if not info and facts.user in ("web", "beat", "flower"):
        yield from (
            skipped(check, f"{login_of(facts.user)} may not run INFO; a worker may") for check in _OF_INFO
        )
    elif not info:
        why = "its user may not run INFO"
        fix = "allow INFO and CONFIG|GET, or check it yourself: noeviction, appendonly yes, a master"
        yield from (warning(check, f"unknown: {why}", fix) for check in _OF_INFO)
    else:
        yield _judge_version(info)
        yield _judge_role(info)
        yield _judge_eviction(info)
        yield _judge_file(info, facts.appendfsync)
    yield judge_room(Memory.of(info), facts.writes_refused)
    yield _judge_permissions(facts)
    yield _judge_user(facts)
    yield judge_replicas(facts.replicas)
    if facts.wrong_keys:
        keys = ", ".join(f"{key} is a {kind}" for key, kind in facts.wrong_keys.items())
        fix = "another program uses these keys: give threadsync its own database, or a global_keyprefix"
        yield error("broker: keys", f"wrong type: {keys}", fix)
    elif facts.wrong_keys is None:
        yield skipped("broker: keys", "could not be checked")
    else:
        yield ok("broker: keys", "all have the right type")
    yield judge_clock("broker: clock", "the broker", facts.time, facts.asked, facts.answered)


def _judge_version(server: Mapping[str, Any]) -> Finding:
    kind = "valkey" if server.get("server_name") == "valkey" or server.get("valkey_version") else "redis"
    version = str(server.get("valkey_version") or server.get("redis_version") or "0")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < _LEAST[kind]:
        least = ".".join(map(str, _LEAST[kind]))
        fix = f"upgrade to {kind} {least} or newer"
        return error("broker: version", f"{kind} {version} is too old", fix)
    hole = hole_in(kind, version)
    return (
        info("broker: version", f"{kind} {version}: {hole}")
        if hole
        else ok("broker: version", f"{kind} {version}")
    )


def _judge_role(server: Mapping[str, Any]) -> Finding:
    if int(server.get("cluster_enabled") or 0):
        fix = "name a single server in CELERY_BROKER_URL, or sentinel:// addresses and a master_name"
        return error("broker: role", _CLUSTER, fix)
    if server.get("role") not in (None, "master"):
        fix = "name the master in CELERY_BROKER_URL, or sentinel:// addresses and a master_name"
        return error("broker: role", "it is a replica, and takes no messages", fix)
    return ok("broker: role", "a master")


def _judge_eviction(info: Mapping[str, Any]) -> Finding:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        fix = "CONFIG SET maxmemory-policy noeviction, and in its configuration file"
        return error("broker: eviction", f"{policy}: when full, it deletes messages", fix)
    return ok("broker: eviction", "noeviction: when full, it rejects new messages and loses none")


def _judge_file(info: Mapping[str, Any], appendfsync: str | None) -> Finding:
    check = "broker: append-only file"
    if not info.get("aof_enabled"):
        fix = "CONFIG SET appendonly yes and appendfsync always, and in its configuration file"
        return error(check, "off: a restart loses all queued messages", fix)
    if info.get("aof_last_write_status", "ok") != "ok":
        fix = "check free disk space and the broker's log"
        return error(check, "its last write failed", fix)
    if appendfsync in ("everysec", "no"):
        lost = "up to a second" if appendfsync == "everysec" else "half a minute"
        fix = "CONFIG SET appendfsync always, and in its configuration file"
        return warning(check, f"appendfsync {appendfsync}: a power failure loses {lost} of commands", fix)
    return ok(check, f"on, appendfsync {appendfsync or 'unknown'}")


def _judge_permissions(facts: BrokerFacts) -> Finding:
    check, fix = "broker: permissions", "set the ACL of docs/operate/brokers.md with ACL SETUSER"
    if facts.refusal and "same slot" in facts.refusal:
        return error(check, _CLUSTER, "use a single server, or sentinel:// addresses and a master_name")
    if facts.refusal:
        return error(check, f"it does not let us run our scripts: {facts.refusal}", fix)
    if facts.missing:
        return error(check, f"its user may not {', '.join(facts.missing)}", fix)
    return ok(check, "its user has all rights that we need")


def _judge_user(facts: BrokerFacts) -> Finding:
    check = "broker: user"
    if facts.user is None:
        return skipped(check, "THREADSYNC_ROLE is not set, and the login is not one of ours")
    if facts.refusal:
        return skipped(check, "could not be checked")
    if facts.excess:
        more = f" and {len(facts.excess) - _SHOWN} more" if len(facts.excess) > _SHOWN else ""
        what = f"it may also {', '.join(facts.excess[:_SHOWN])}{more}"
        fix = f"log in as {login_of(facts.user)}: threadsync broker-users, docs/operate/least-privilege.md"
        return warning(check, what, fix)
    return ok(check, f"it has the rights of {login_of(facts.user)} only")


def judge_visibility(timeout: float, longest: float) -> Finding:
    """Compare with ``longest``, the hard time limit of a session command; both in seconds."""
    check = "broker: visibility timeout"
    fix = "remove visibility_timeout from CELERY_BROKER_TRANSPORT_OPTIONS: the default is right"
    if timeout <= longest:
        return error(
            check, f"{timeout:g} s, but a command may run for {longest:g} s: it would run twice", fix
        )
    if timeout > _LATE_SECONDS:
        return warning(check, f"a killed worker's commands are redelivered only after {timeout:g} s", fix)
    return ok(check, f"{timeout:g} s, longer than the {longest:g} s that a command may run")
