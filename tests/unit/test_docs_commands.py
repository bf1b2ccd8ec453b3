"""Command lines in the documents, each of which can be typed."""

from __future__ import annotations

import pytest

from tests.support.documents import DOCUMENTS, fault_of, name_of, shell_lines

LINES = [
    pytest.param(line, id=f"{name_of(path)}: {line}")
    for path in DOCUMENTS
    for line in dict.fromkeys(shell_lines(path.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_is_one_of_ours(line: str) -> None:
    """Every command line in the documents has an existing command, options and target."""
    assert fault_of(line, {"CELERY_BROKER_URL": "redis://127.0.0.1:1/0"}) is None


@pytest.mark.parametrize(
    "line",
    [
        "threadsync fly",
        "threadsync dead retry ID --because x",
        "make nothing",
        "make lock UPGRADES=all",
        "celery -A worker worker --quues sessions",
        "threadsync worker --quues sessions",
        "celery -A nowhere worker",
        "uvicorn handlers.asgi:app --prot 3000",
        "python -m handlers.serve --prot 3000",
        "python -m nowhere",
        "python docs/nowhere.py",
        "rm -rf .",
    ],
)
def test_a_slip_is_noticed(line: str) -> None:
    """A command line with a mistake is noticed."""
    assert fault_of(line, {"CELERY_BROKER_URL": "redis://127.0.0.1:1/0"}) is not None


def test_the_commands_were_found() -> None:
    """The documents' command lines are found, so the test of them is not empty."""
    assert {"make demo", "make test", "threadsync migrate"} <= {str(case.values[0]) for case in LINES}


def test_the_documents_are_all_read() -> None:
    """The documents include those at the root and those in docs/."""
    names = {name_of(path) for path in DOCUMENTS}
    assert {"README.md", "docs/promises/delivery.md", "SECURITY.md", "benchmarks/README.md"} <= names
