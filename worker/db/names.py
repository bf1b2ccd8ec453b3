"""Look up a host's addresses, within a limit of time.

psycopg does so itself, but does not tell which address was silent: the next connection would wait for it
again. A lookup cannot be interrupted, so it has a thread of its own, which is abandoned after the limit.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import psycopg

LOOK_UP_SECONDS: Final = 3.0


def addresses_of(attempt: Mapping[str, Any]) -> Sequence[str]:
    """Return the addresses in the resolver's order; none if no lookup is needed, or none succeeds in time."""
    name, found = _name(attempt), list[str]()

    def look_up() -> None:
        # UnicodeError: no name can be like that.
        with suppress(OSError, UnicodeError):
            answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
            found.extend(dict.fromkeys(str(answer[4][0]) for answer in answers))

    if name:
        thread = threading.Thread(target=look_up, name="threadsync-resolver", daemon=True)
        thread.start()
        thread.join(LOOK_UP_SECONDS)
    return tuple(found)


def looked_up(attempt: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the attempt if its host was found; else raise: psycopg would look again without a limit."""
    if name := _name(attempt):
        raise psycopg.OperationalError(f"failed to resolve host {name!r} within {LOOK_UP_SECONDS:g} s")
    return attempt


def _name(attempt: Mapping[str, Any]) -> str | None:
    # Not a folder with sockets, nor a list, which libpq will refuse.
    host = str(attempt.get("host") or "")
    if not host or host.startswith(("/", "@")) or "," in host or attempt.get("hostaddr"):
        return None
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return None
    return host
