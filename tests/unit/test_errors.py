"""The exception tree, and an error's journey from the worker to the caller."""

from __future__ import annotations

import inspect
import json
import pickle
from typing import Final

import pytest

from threadsync import errors
from threadsync.errors import (
    JiraKeyConflict,
    PermanentError,
    PoisonCommand,
    SessionNotFound,
    ThreadsyncError,
    TransientError,
)

CLASSES: Final = [
    item for item in vars(errors).values() if inspect.isclass(item) and issubclass(item, ThreadsyncError)
]
SAMPLES: Final = [
    SessionNotFound("C1", "1.1"),
    JiraKeyConflict("C1", "1.1", "PROJ-1", "PROJ-2"),
    PoisonCommand("sessions.get", 5),
    *(
        kind("what is wrong")
        for kind in CLASSES
        if kind not in {SessionNotFound, JiraKeyConflict, PoisonCommand}
    ),
]


def tree(kind: type[ThreadsyncError]) -> list[str]:
    """Return the names of the classes in `errors.py`, parents first."""
    here = [sub for sub in CLASSES if kind in sub.__bases__]
    return [kind.__name__, *(name for sub in here for name in tree(sub))]


def test_the_drawing_is_the_tree() -> None:
    """The drawing at the head of the file names every class, in its place."""
    drawing = (errors.__doc__ or "").split("\n\n")[1]
    assert [line.strip("│├└─ ").split()[0] for line in drawing.splitlines()] == tree(ThreadsyncError)


def test_every_error_is_transient_or_permanent() -> None:
    """Every error is either transient or permanent, so that a caller knows whether to try again."""
    for kind in set(CLASSES) - {ThreadsyncError}:
        assert issubclass(kind, TransientError) != issubclass(kind, PermanentError), kind


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_the_journey(error: ThreadsyncError) -> None:
    """An error is the same after a journey as JSON arguments, and after pickling."""
    for copy in (type(error)(*json.loads(json.dumps(error.args))), pickle.loads(pickle.dumps(error))):  # noqa: S301
        assert (type(copy), str(copy), copy.args, vars(copy)) == (
            type(error),
            str(error),
            error.args,
            vars(error),
        )


def test_messages_say_what_to_do() -> None:
    """A message names the thread, the ticket and the remedy."""
    assert str(SessionNotFound("C1", "1.1")) == (
        "no session for thread 1.1 in channel C1; send sessions.get_or_create for it first"
    )
    conflict = str(JiraKeyConflict("C1", "1.1", "PROJ-1", "PROJ-2"))
    assert conflict == "thread 1.1 in channel C1 is already synced with PROJ-1; PROJ-2 was refused"
    assert "5 times" in str(PoisonCommand("sessions.get", 5))
