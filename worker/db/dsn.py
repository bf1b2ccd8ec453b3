"""Read DATABASE_URL as libpq does, and say which of its values are wrong, without a secret. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from threadsync.broker.address import BadAddress
from threadsync.dsn import read_database
from threadsync.errors import InvalidSettings

_CHOICES: Final = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "sslcertmode": ("disable", "allow", "require"),
    "gssencmode": ("disable", "prefer", "require"),
    "channel_binding": ("disable", "prefer", "require"),
    "load_balance_hosts": ("disable", "random"),
    "target_session_attrs": (
        "any",
        "read-write",
        "read-only",
        "primary",
        "standby",
        "prefer-standby",
    ),
}
_NUMBERS: Final = (
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
)
_ENCODE: Final = "special characters in the password must be percent-encoded"
_UNREADABLE: Final = f"is not a URL that libpq can read; see that host and port are right; {_ENCODE}"


def parse_dsn(url: str) -> dict[str, Any]:
    """Return libpq's parameters. Raises ``InvalidSettings`` that names what is wrong, and no secret."""
    try:
        given = conninfo_to_dict(read_database(url))
    except BadAddress as exc:
        raise InvalidSettings(f"DATABASE_URL: {exc}") from None
    except psycopg.ProgrammingError:
        # libpq's message repeats the URL, with its password; so no `from exc` either.
        raise InvalidSettings(f"DATABASE_URL: {_UNREADABLE}") from None
    if faults := "; ".join(_wrong_values(given)):
        raise InvalidSettings(f"DATABASE_URL: {faults}")
    return given


def _wrong_values(given: Mapping[str, Any]) -> Iterator[str]:
    for name, choices in _CHOICES.items():
        if name in given and given[name] not in choices:
            yield f'the parameter "{name}" must be one of {", ".join(choices)}'
    for name in _NUMBERS:
        if name in given and not str(given[name]).strip().lstrip("-").isdecimal():
            yield f'the parameter "{name}" must be a whole number'
    ports = str(given.get("port", ""))
    if any(port and not (port.isdecimal() and 0 < int(port) < 65_536) for port in ports.split(",")):
        yield f"the port must be a number from 1 to 65535; {_ENCODE}"
    hosts = str(given.get("host", "")).split(",")
    if 1 < len(ports.split(",")) != len(hosts):
        yield "it must name one port for all hosts, or one for each"
