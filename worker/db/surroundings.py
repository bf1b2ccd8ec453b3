"""Read what libpq would take from the environment and the service file: hosts are tried in turn by us.

libpq: a parameter of the address, else of the service, else of the environment. Only files are read here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from psycopg.pq import Conninfo

_VARIABLES: Final = {
    "service": "PGSERVICE",
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "options": "PGOPTIONS",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
}
"""Of those that something here depends on; libpq reads all others by itself."""


def with_surroundings(
    given: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the parameters of an address, and those that stand elsewhere for it.

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
