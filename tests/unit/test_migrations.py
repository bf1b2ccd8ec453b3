"""The migration files, without a database."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

from worker.db.migrate import migrations

ROOT = Path(__file__).parents[2]


def test_numbers_have_no_gap() -> None:
    """1, 2, 3, …: two branches that add the same number meet in this test, not in production."""
    assert [migration.version for migration in migrations()] == list(range(1, len(migrations()) + 1))


def test_every_file_is_a_migration() -> None:
    """A misnamed one would be left out in silence."""
    files = [
        file.name for file in resources.files("worker.db").joinpath("migrations").iterdir() if file.is_file()
    ]
    assert sorted(files) == [migration.name for migration in migrations()]


def test_a_file_starts_with_a_sentence() -> None:
    """Whoever operates the database reads it first."""
    for migration in migrations():
        assert migration.sql.startswith("-- "), migration.name


def test_no_file_ends_the_transaction() -> None:
    """All missing files are one transaction; one that commits would break the promise."""
    for migration in migrations():
        lines = [line.strip().upper().rstrip(";") for line in migration.sql.splitlines()]
        assert {"COMMIT", "ROLLBACK", "BEGIN TRANSACTION"} & set(lines) == set(), migration.name


def test_the_wheel_ships_them() -> None:
    """hatchling packs every file of a named package that git does not ignore."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "worker" in wheel["packages"]
    assert not {"exclude", "include", "only-include"} & set(wheel)
    assert ".sql" not in (ROOT / ".gitignore").read_text()
