"""Read DATABASE_URL and say which part of it is wrong, without a secret. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from threadsync.dsn import INSTEAD
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
    parameters = dict(_query(url))
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    if parameters.get("ssl") == "true":
        known.add("ssl")  # as libpq has it, for JDBC's sake
    unknown = [name for name in parameters if name not in known]
    if unknown:
        faults = "; ".join(_unknown(name) for name in unknown)
        raise InvalidSettings(f"DATABASE_URL: {faults}")
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # libpq's message repeats the URL, with its password; so no `from exc` either.
        raise InvalidSettings(f"DATABASE_URL: {_UNREADABLE}") from None
    if faults := "; ".join(_wrong_values(given)):
        raise InvalidSettings(f"DATABASE_URL: {faults}")
    return given


def _query(url: str) -> list[tuple[str, str]]:
    # A password may hold a question mark that should have been encoded: what follows it is no parameter.
    rest = url.rpartition("@")[2]
    return parse_qsl(rest.partition("?")[2], keep_blank_values=True)


def _unknown(name: str) -> str:
    # Only a word is repeated: what else stands there may be part of a password.
    shown = f'"{name}"' if name.isidentifier() and len(name) < 40 else "of its parameters, one"
    instead = f"; {INSTEAD[name]}" if name in INSTEAD else ""
    return f"the parameter {shown} is not one that libpq knows{instead}"


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
