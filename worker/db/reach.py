"""Order the hosts of Postgres and their addresses, silent ones last, without waiting or connecting."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

SLOW_SECONDS: Final = 1.0
"""A host that takes longer to fail counts as silent: frozen, switched off, or behind a firewall."""

AVOIDED_SECONDS: Final = 60.0
"""Time for which a silent host is tried last: each attempt costs its whole ``connect_timeout``."""

_MAY_BE_READ_ONLY: Final = {"any", "prefer-standby"}


class Reach:
    """The hosts of one pool's URL, as this process has found them."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.trouble: Exception | None = None
        """Error of the last attempt; None after a success."""
        self._monotonic = monotonic
        self._silent: dict[tuple[str, str, str], float] = {}
        self._writable_only = False

    def attempts(self, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the parameters of each attempt to make, in order.

        Of several hosts the writable one is looked for unless the URL says otherwise. A single host, which
        may be a proxy or an address that moves, must be writable only after it led to a read-only server.
        Then none of several may be read-only either, whatever the URL prefers.
        """
        hosts = _hosts(parameters)
        wanted = dict(parameters)
        if len(hosts) < 2:
            if self._writable_only:
                wanted.setdefault("target_session_attrs", "read-write")
            return _in_turn(wanted)
        if self._writable_only and wanted.get("target_session_attrs") in _MAY_BE_READ_ONLY:
            wanted["target_session_attrs"] = "read-write"
        wanted.setdefault("target_session_attrs", "read-write")
        if wanted.get("load_balance_hosts") == "random":
            random.shuffle(hosts)
        attempts = [{**attempt, **host} for attempt in _in_turn(wanted) for host in hosts]
        now = self._monotonic()
        # Sorting is stable: among equals the order stays.
        return sorted(attempts, key=lambda attempt: self._is_silent(attempt, now))

    def each_address(self, attempt: Mapping[str, Any], addresses: Sequence[str]) -> list[dict[str, Any]]:
        """Return an attempt for each address of the attempt's host, in order; itself if there is none.

        The host stays beside the address, for the certificate and the password file.
        """
        drawn = list(addresses)
        if attempt.get("load_balance_hosts") == "random":
            random.shuffle(drawn)
        now = self._monotonic()
        attempts = [{**attempt, "hostaddr": address} for address in drawn] or [dict(attempt)]
        return sorted(attempts, key=lambda one: self._is_silent(one, now))

    def failed(self, attempt: Mapping[str, Any], seconds: float, trouble: Exception) -> None:
        """Note that an attempt failed, and after how long."""
        self.trouble = trouble
        if seconds >= SLOW_SECONDS:
            now = self._monotonic()
            # Names lead to ever other addresses.
            recent = {key: since for key, since in self._silent.items() if now - since < AVOIDED_SECONDS}
            self._silent = {**recent, _key(attempt): now}

    def succeeded(self, attempt: Mapping[str, Any]) -> None:
        """Note that an attempt led to a connection."""
        self.trouble = None
        self._silent.pop(_key(attempt), None)

    def led_to_read_only(self) -> None:
        """Note that a write was refused: from now on only a writable server will do."""
        self._writable_only = True

    def _is_silent(self, host: Mapping[str, Any], now: float) -> bool:
        name, address, port = _key(host)
        # A name without an address is that of all its addresses.
        return any(
            (name, port) == (of, by) and address in ("", at) and now - since < AVOIDED_SECONDS
            for (of, at, by), since in self._silent.items()
        )


def _in_turn(wanted: dict[str, Any]) -> list[dict[str, Any]]:
    # The same as psycopg does, which does not know which host was silent.
    if wanted.get("target_session_attrs") != "prefer-standby":
        return [wanted]
    return [{**wanted, "target_session_attrs": attribute} for attribute in ("standby", "any")]


def _hosts(parameters: Mapping[str, Any]) -> list[dict[str, str]]:
    lists = {
        name: str(parameters[name]).split(",")
        for name in ("host", "hostaddr", "port")
        if parameters.get(name)
    }
    count = max((len(lists[name]) for name in ("host", "hostaddr") if name in lists), default=1)
    if len(lists.get("port", [])) == 1:
        lists["port"] *= count
    if any(len(values) != count for values in lists.values()):
        return []  # libpq will say what is wrong with it
    return [{name: values[place] for name, values in lists.items()} for place in range(count)]


def _key(attempt: Mapping[str, Any]) -> tuple[str, str, str]:
    host, address, port = (str(attempt.get(name, "")) for name in ("host", "hostaddr", "port"))
    return host, address, port
