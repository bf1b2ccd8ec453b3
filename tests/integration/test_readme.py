"""The documents' programs run as they stand, with a real broker and worker, and print what is below them."""

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
    """Return each block of Python with the block of text behind it, which is its output."""
    found = blocks(read(document))
    pairs = pairwise(found)
    return [pair for pair in pairs if [block.language for block in pair] == ["python", "text"]]


# CONTRIBUTING has the code of its recipe, which has a test of its own; a decision quotes code of others.
PROGRAMS = [name for name in map(name_of, DOCUMENTS) if programs(name)]


def test_the_documents_with_programs() -> None:
    """The reading of the documents has not gone blind."""
    assert {name: len(programs(name)) for name in PROGRAMS} == {"README.md": 1, "docs/use/python.md": 4}
    for name in PROGRAMS:
        assert sum(block.language == "python" for block in blocks(read(name))) == len(programs(name))


@pytest.mark.parametrize("document", PROGRAMS)
def test_the_programs_of_the_documents(document: str, shared: Installation) -> None:
    """They run one after the other, each in a process of its own that has nothing but the addresses."""
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
    """Each statement is one that Postgres takes from whoever administrates our tables."""
    statements = [block.text for block in blocks(read(document)) if block.language == "sql"]
    assert statements
    with psycopg.connect(postgres.for_administrator(database_url)) as connection:
        for statement in statements:
            connection.execute(statement.encode())
        connection.rollback()


def test_the_time_limits_of_a_role(postgres: PostgresForTests, database_url: str) -> None:
    """What the documents set on the role for PgBouncer is what the pool asks for without one."""
    [block] = [
        block
        for block in blocks(read("docs/operate/postgres.md"))
        if block.text.startswith("ALTER ROLE threadsync SET")
    ]
    administrator = postgres.for_administrator(database_url)
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute(block.text.encode())
    try:
        # A connection without our pool's options: psycopg's own.
        assert ask(administrator, "SHOW statement_timeout") == "5s"
        assert ask(administrator, "SHOW lock_timeout") == "3s"
    finally:
        ask(administrator, "ALTER ROLE threadsync RESET ALL")
