"""Read DATABASE_URL as libpq does, with libpq's own additions, so that we can try its hosts in turn.

libpq takes a parameter from the address, else from the service, else from the environment. A mistake is named
without a secret. Only files are read here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from threadsync.address import BadAddress
from threadsync.dsn import read_database
from threadsync.errors import InvalidSettings

_CHOICES: Final = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "sslcertmode": ("disable", "allow", "require"),
    "gssencmode": ("disable", "prefer", "require"),
    "channel_binding": ("disable", "prefer", "require"),
    "load_balance_hosts": ("disable", "random"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
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

_VARIABLES: Final = {
    "service": "PGSERVICE",
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "options": "PGOPTIONS",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
}
"""Variables of parameters that something here depends on; libpq reads all others by itself."""


def parse_dsn(url: str) -> dict[str, Any]:
    """Return libpq's parameters. Raises ``InvalidSettings``, which shows no secret."""
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


def with_surroundings(
    given: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Add the service's and the environment's parameters to an address's.

    A service that cannot be read adds nothing: libpq says what is wrong with it.
    """
    environment = os.environ if environment is None else environment
    service = given.get("service") or environment.get("PGSERVICE")
    elsewhere = _of_service(service, given, environment) if service else {}
    around = {
        name: environment[variable] for name, variable in _VARIABLES.items() if environment.get(variable)
    }
    return {**around, **elsewhere, **given}


def _of_service(name: str, given: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    for file in _files(given, environment):
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
        found = _section(text, name)
        if found is not None:
            known = {option.keyword.decode() for option in Conninfo.get_defaults()}
            return {key: value for key, value in found.items() if key in known - {"service", "servicefile"}}
    return {}


def _files(given: Mapping[str, Any], environment: Mapping[str, str]) -> list[Path]:
    named = given.get("servicefile") or environment.get("PGSERVICEFILE")
    # Not Path.expanduser(), which raises for a user of a container that has no home.
    files = [Path(named or os.path.expanduser("~/.pg_service.conf"))]  # noqa: PTH111
    if folder := environment.get("PGSYSCONFDIR"):
        files.append(Path(folder) / "pg_service.conf")
    return files


def _section(text: str, name: str) -> dict[str, str] | None:
    found: dict[str, str] | None = None
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            if found is not None:
                return found
            if line == f"[{name}]":
                found = {}
        elif found is not None and "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            # The first one holds, as in libpq.
            found.setdefault(key, value)
    return found
