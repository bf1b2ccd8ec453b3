"""The migration files, without a database."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

from worker.db.migrate import migrations

ROOT = Path(__file__).parents[2]


def test_numbers_have_no_gap() -> None:
    """Migrations are numbered without gaps, so two branches with the same number fail here."""
    assert [migration.version for migration in migrations()] == list(range(1, len(migrations()) + 1))


def test_every_file_is_a_migration() -> None:
    """Every file in the folder is a migration; a misnamed one would be left out silently."""
    files = [
        file.name for file in resources.files("worker.db").joinpath("migrations").iterdir() if file.is_file()
    ]
    assert sorted(files) == [migration.name for migration in migrations()]


def test_a_file_starts_with_a_sentence() -> None:
    """Each migration begins with a comment for the operator of the database."""
    for migration in migrations():
        assert migration.sql.startswith("-- "), migration.name


def test_no_file_ends_the_transaction() -> None:
    """No migration ends the transaction in which all missing ones run."""
    for migration in migrations():
        lines = [line.strip().upper().rstrip(";") for line in migration.sql.splitlines()]
        assert {"COMMIT", "ROLLBACK", "BEGIN TRANSACTION"} & set(lines) == set(), migration.name


def test_the_wheel_ships_them() -> None:
    """The wheel ships every migration, because hatchling packs all files of a package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "worker" in wheel["packages"]
    assert not {"exclude", "include", "only-include"} & set(wheel)
    assert ".sql" not in (ROOT / ".gitignore").read_text()
