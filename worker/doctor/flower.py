"""Check that Flower needs a login, and that other machines do not reach it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import httpx

from threadsync.errors import InvalidSettings
from worker.doctor.finding import Finding, error, ok, skipped, warning
from worker.http_once import tls_context
from worker.operate.flower_options import is_yes, options_for

CHECKS: Final = ("flower: settings", "flower: login", "flower: address")
PUBLISHED_AT: Final = "FLOWER_PUBLISHED_AT"
"""The address at which a container's host publishes the port, such as ``127.0.0.1:5555``."""

_SECONDS: Final = 3
_LOGINS: Final = ("FLOWER_BASIC_AUTH", "FLOWER_BASIC_AUTH_FILE", "FLOWER_AUTH", "FLOWER_AUTH_PROVIDER")
_SET_ONE: Final = "start it with `threadsync flower` and FLOWER_BASIC_AUTH=user:password"


def examine_flower(url: str, env: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """Check Flower at ``url``."""
    env = os.environ if env is None else env
    yield judge_settings(env)
    status = _status(f"{url.rstrip('/')}/api/workers")
    yield judge_login(status, url)
    if status is None:
        yield skipped("flower: address", "it is not running here")
        return
    parts = urlsplit(url)
    reachable = [
        host for host in _other_addresses() if _status(f"{parts.scheme}://{host}:{parts.port}/") is not None
    ]
    yield judge_address(reachable, env.get(PUBLISHED_AT, ""))


def _status(url: str) -> int | None:
    try:
        # The page is not read: it need not end.
        verify = tls_context(trust_env=False)
        with httpx.stream("GET", url, timeout=_SECONDS, trust_env=False, verify=verify) as answer:
            return answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL):
        return None


def _other_addresses() -> list[str]:
    """Return this machine's addresses as others see it."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    except OSError:
        found = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # An address of RFC 5737; nothing is sent: the kernel only chooses a local address.
            probe.connect(("192.0.2.1", 9))
            found.add(probe.getsockname()[0])
        except OSError:
            pass
    return sorted(str(host) for host in found if not str(host).startswith("127."))


def judge_settings(env: Mapping[str, str]) -> Finding:
    """Judge Flower's settings in the environment."""
    check = "flower: settings"
    if is_yes(env.get("FLOWER_UNAUTHENTICATED_API", "")):
        what = "FLOWER_UNAUTHENTICATED_API opens its API, which runs and revokes tasks, to everyone"
        return error(check, what, "unset FLOWER_UNAUTHENTICATED_API")
    given = [name for name in _LOGINS if env.get(name)]
    if not given:
        return skipped(check, "no login is set for Flower here")
    try:
        options_for(env)
    except InvalidSettings as exc:
        return error(check, str(exc), "write FLOWER_BASIC_AUTH as user:password")
    return ok(check, f"{given[0]} is set")


def judge_login(status: int | None, url: str) -> Finding:
    """Judge the ``status`` of its API without a login; None if it does not answer."""
    check = "flower: login"
    if status is None:
        return skipped(check, f"nothing answers at {url}; use --flower-url for another address")
    if status in (401, 403) or 300 <= status < 400:
        return ok(check, "it requires a login")
    return error(check, f"{url} needs no login: anyone who reaches it can see and run tasks", _SET_ONE)


def judge_address(reachable: list[str], published_at: str = "") -> Finding:
    """Judge the addresses of this machine, other than loopback, at which it answers.

    A container's addresses belong to its networks; there the published port counts.
    """
    check = "flower: address"
    if published_at and _is_loopback(published_at):
        return ok(check, f"published at {published_at}: only its host reaches it")
    others = [published_at] if published_at else reachable
    if others:
        fix = "bind it to loopback (--address 127.0.0.1), and put a TLS proxy in front of it"
        return warning(check, f"other machines reach it at {', '.join(others)}, without TLS", fix)
    return ok(check, "only this machine reaches it")


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
