"""The documents' programs, run unchanged on a real broker and worker, and their printed output."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import psycopg
import pytest

from tests.support.documents import DOCUMENTS, Block, blocks, name_of, read
from tests.support.installation import Installation
from tests.support.servers import PostgresForTests, ask


def programs(document: str) -> list[tuple[Block, Block]]:
    """Return each Python block with the text block behind it, which is its output."""
    found = blocks(read(document))
    pairs = pairwise(found)
    return [pair for pair in pairs if [block.language for block in pair] == ["python", "text"]]


# CONTRIBUTING's recipe has its own test, and ADRs quote foreign code; neither has programs with output.
PROGRAMS = [name for name in map(name_of, DOCUMENTS) if programs(name)]


def test_the_documents_with_programs() -> None:
    """The expected documents contain the expected number of programs."""
    assert {name: len(programs(name)) for name in PROGRAMS} == {"README.md": 1, "docs/use/python.md": 5}
    for name in PROGRAMS:
        assert sum(block.language == "python" for block in blocks(read(name))) == len(programs(name))


@pytest.mark.parametrize("document", PROGRAMS)
def test_the_programs_of_the_documents(document: str, shared: Installation) -> None:
    """Each program of a document prints its documented output, with only the addresses in its environment."""
    for program, output in programs(document):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program.text],
            env=shared.env,
            cwd=shared.logs,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, output.text, ""), program.text


@pytest.mark.parametrize("document", ["docs/operate/backup.md", "docs/operate/postgres.md"])
def test_the_sql_of_the_documents(document: str, postgres: PostgresForTests, database_url: str) -> None:
    """Postgres accepts each SQL statement of the documents from an administrator."""
    statements = [block.text for block in blocks(read(document)) if block.language == "sql"]
    assert statements
    with psycopg.connect(postgres.for_administrator(database_url)) as connection:
        for statement in statements:
            connection.execute(statement.encode())
        connection.rollback()


def test_the_time_limits_of_a_role(postgres: PostgresForTests, database_url: str) -> None:
    """The time limits that the documents set on the role for PgBouncer are those of the pool."""
    [block] = [
        block
        for block in blocks(read("docs/operate/postgres.md"))
        if block.text.startswith("ALTER ROLE threadsync SET")
    ]
    administrator = postgres.for_administrator(database_url)
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute(block.text.encode())
    try:
        # A plain psycopg connection has none of our pool's options.
        assert ask(administrator, "SHOW statement_timeout") == "5s"
        assert ask(administrator, "SHOW lock_timeout") == "3s"
    finally:
        ask(administrator, "ALTER ROLE threadsync RESET ALL")
