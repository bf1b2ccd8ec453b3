"""Connection parameters from the environment or a service file, in libpq's order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from worker.db.conninfo import with_surroundings

SERVICES = """
# of the whole machine
[other]
host=elsewhere
[ours]
# host=none
host=db1,db2
port=5432,5433
dbname=threads
port=1
no_such_parameter=1
options=-csearch_path=app
line without a sign
[ours]
user=of-the-second-section
"""
OURS = {"host": "db1,db2", "port": "5432,5433", "dbname": "threads", "options": "-csearch_path=app"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "pg_service.conf"
    file.write_text(SERVICES)
    return file


def test_without_any_the_address_stands_as_it_is() -> None:
    """Parameters that libpq reads from the environment by itself are left to it."""
    assert with_surroundings({"host": "a"}, {"PGPASSWORD": "x", "PGDATABASE": "d"}) == {"host": "a"}


def test_the_environments_hosts_are_known() -> None:
    """Hosts in the environment are read, so that each of them is tried in turn."""
    environment = {"PGHOST": "a,b", "PGPORT": "1,2", "PGOPTIONS": "-cx=1", "PGTARGETSESSIONATTRS": "primary"}
    assert with_surroundings({"dbname": "d", "port": "7"}, environment) == {
        "dbname": "d",
        "host": "a,b",
        "port": "7",
        "options": "-cx=1",
        "target_session_attrs": "primary",
    }


@pytest.mark.parametrize("way", ["variables", "parameters", "folder"])
def test_a_service_is_read(file: Path, way: str) -> None:
    """A service is read from its file: first section of its name, first value, known parameters only."""
    given: dict[str, Any] = {} if way == "variables" else {"service": "ours"}
    environment = {
        "variables": {"PGSERVICE": "ours", "PGSERVICEFILE": str(file)},
        "parameters": {"PGSERVICEFILE": str(file)},
        "folder": {"PGSYSCONFDIR": str(file.parent), "PGSERVICEFILE": str(file.parent / "none")},
    }[way]
    found = with_surroundings(given, environment)
    assert found.pop("service") == "ours"
    assert found == OURS


def test_the_address_comes_first_and_the_environment_last(file: Path) -> None:
    """The address goes before the service, and the service before the environment, as in libpq."""
    environment = {"PGSERVICEFILE": str(file), "PGHOST": "x", "PGTARGETSESSIONATTRS": "any"}
    found = with_surroundings({"service": "ours", "dbname": "mine"}, environment)
    assert found == {**OURS, "service": "ours", "dbname": "mine", "target_session_attrs": "any"}


@pytest.mark.parametrize("content", [None, "[other]\nhost=x\n", b"\xff\xfe"])
def test_a_service_that_cannot_be_read_adds_nothing(tmp_path: Path, content: str | bytes | None) -> None:
    """A service that cannot be read adds nothing; libpq reports it when it connects."""
    file = tmp_path / "services"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = with_surroundings({"service": "ours"}, {"PGSERVICEFILE": str(file)})
    assert found == {"service": "ours"}
