"""Statements of the previous release on today's tables, to which migrations only add.

`tests/golden/capture_statements.py` writes a release's statements into `tests/golden/statements/`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import psycopg
import pytest

from tests.support.documents import ROOT
from worker.db.migrate import Migration, migrations

RELEASES: Final = sorted(ROOT.glob("tests/golden/statements/*.json"))
FIRST_RELEASE: Final = 3
"""The newest migration of 0.1.0, before which there was no installation."""

_ADDS: Final = re.compile(
    r"""CREATE\ (TABLE|INDEX|FUNCTION|VIEW|TYPE|SEQUENCE)\b .*
    | ALTER\ TABLE\ \w+\ ADD\ COLUMN\ (?!.*\bNOT\ NULL\b(?!.*\bDEFAULT\b)).*
    | COMMENT\ ON\b .*
    | GRANT\b .*
    # Write into a table of the same migration alone, and refuse nothing: 0016 says what.
    | CREATE\ TRIGGER\ (syncs|session_acts|left_tickets)_\w+_steps\ (AFTER|BEFORE)\b .*
      \ EXECUTE\ FUNCTION\ threadsync_(steps_of_sync|steps_of_act|end_steps)\(.*
    # Writes what older statements leave out, and refuses them nothing.
    | CREATE\ TRIGGER\ \w+_sign\ BEFORE\b .*\ EXECUTE\ FUNCTION\ threadsync_sign\(.*""",
    re.VERBOSE | re.DOTALL,
)
_PARAMETER: Final = re.compile(r"%\((\w+)\)s")
_TAKES: Final = re.compile(r"\b(DROP|RENAME|ADD CONSTRAINT|SET NOT NULL|CREATE UNIQUE)\b|\bALTER COLUMN\b")


def faults_of(sql: str) -> list[str]:
    """Return the statements of a migration that may break an older worker."""
    bare = re.sub(r"--.*", "", sql)
    bare = re.sub(r"\$\$.*?\$\$", "''", bare, flags=re.DOTALL)
    statements = [" ".join(statement.split()) for statement in bare.split(";")]
    # Rows for a new table, which no older worker reads.
    made = re.findall(r"CREATE TABLE (\w+)", bare)
    statements = [
        s for s in statements if s.partition(" DEFAULT")[0] not in {f"INSERT INTO {t}" for t in made}
    ]
    return [s for s in statements if s and (not _ADDS.fullmatch(s) or _TAKES.search(s))]


def numbered(sql: str) -> str:
    """Replace each `%(name)s` by `$1` and so on, as psycopg sends it."""
    names = list(dict.fromkeys(_PARAMETER.findall(sql)))
    return _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", sql).replace("%%", "%")


@pytest.mark.parametrize("path", RELEASES, ids=lambda path: path.stem)
def test_statements_of_a_release_fit_todays_tables(path: Path, database_url: str) -> None:
    """Postgres can prepare each statement of a release on today's tables."""
    statements = json.loads(path.read_text())
    assert len(statements) > 40
    with psycopg.connect(database_url, autocommit=True) as connection:
        for name, sql in statements.items():
            try:
                connection.execute(f"PREPARE golden AS {numbered(sql)}".encode())
            except psycopg.Error as error:
                raise AssertionError(f"{name}: {error}") from error
            connection.execute("DEALLOCATE golden")


@pytest.mark.parametrize(
    "migration", [m for m in migrations() if m.version > FIRST_RELEASE], ids=lambda migration: migration.name
)
def test_a_migration_only_adds(migration: Migration) -> None:
    """A migration only adds tables, indexes, optional columns, and triggers that sign records or add rows."""
    assert faults_of(migration.sql) == []


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE syncs",
        "ALTER TABLE syncs DROP COLUMN draft",
        "ALTER TABLE syncs ADD COLUMN who text NOT NULL",
        "ALTER TABLE syncs ADD COLUMN a text, ALTER COLUMN draft SET NOT NULL",
        "ALTER TABLE syncs RENAME COLUMN draft TO drafts",
        "ALTER TABLE syncs ADD CONSTRAINT c CHECK (false)",
        "CREATE UNIQUE INDEX i ON syncs (site)",
        "UPDATE syncs SET state = 'done'",
        "CREATE TRIGGER t BEFORE INSERT ON syncs FOR EACH ROW EXECUTE FUNCTION refuse()",
        "CREATE TABLE a (b int); INSERT INTO syncs DEFAULT VALUES",
    ],
)
def test_one_that_takes_away_is_noticed(sql: str) -> None:
    """The check finds a statement that removes or restricts."""
    assert faults_of(sql) != []
