"""README's code is run as it stands, against a real broker and worker, and prints what README says."""

from __future__ import annotations

import subprocess
import sys

import psycopg
import pytest

from tests.support.documents import Block, blocks, read
from tests.support.installation import Installation
from tests.support.servers import PostgresForTests, ask


def programs() -> list[tuple[Block, Block]]:
    """Each block of Python with the block of text behind it, which is what it prints."""
    found = blocks(read("README.md"))
    return [(block, found[place + 1]) for place, block in enumerate(found) if block.language == "python"]


def test_the_programs_of_the_readme(shared: Installation) -> None:
    """One after the other, each in a process of its own that has nothing but the addresses."""
    assert len(programs()) == 4
    for program, output in programs():
        assert output.language == "text", program.text
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


@pytest.mark.parametrize("document", ["docs/operations.md", "SECURITY.md"])
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
        for block in blocks(read("docs/operations.md"))
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
