"""Last words of a process: a sentence for a mistake in the settings, a traceback for other errors."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.exceptions import Reject

from tests.support.workers import ROOT
from threadsync.broker.installation import OthersBroker
from threadsync.errors import InvalidSettings
from worker.observe.last_words import InASentence

SENTENCE = "NAME is wrong: set it right"
LAST_WORDS = InASentence((InvalidSettings, OthersBroker), (Reject,))


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Yield the text that a logger of ours has written."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(LAST_WORDS)
    logger = logging.getLogger("tests.last_words")
    logger.addHandler(handler)
    logger.propagate = False
    yield written
    logger.removeHandler(handler)


@pytest.mark.parametrize("kind", [InvalidSettings, OthersBroker])
def test_a_mistake_is_logged_as_its_sentence(written: io.StringIO, kind: type[Exception]) -> None:
    """A mistake in the settings is logged as its sentence, without Celery's traceback."""
    try:
        raise kind(SENTENCE)
    except kind:
        logging.getLogger("tests.last_words").critical("beat raised %r", "it", exc_info=True)
    assert written.getvalue() == f"{SENTENCE}\n"


def test_a_message_that_goes_back_is_said_in_a_line(written: io.StringIO) -> None:
    """A message that goes back to the queue is logged in one line, without Celery's traceback."""
    try:
        raise Reject("the broker did not take it", requeue=True) from ZeroDivisionError()
    except Reject as exc:
        logging.getLogger("tests.last_words").warning("Task %r", exc, exc_info=True)
    assert written.getvalue() == "Task reject requeue=True: the broker did not take it\n"


def test_another_error_keeps_its_traceback(written: io.StringIO) -> None:
    try:
        raise ZeroDivisionError(SENTENCE)
    except ZeroDivisionError:
        logging.getLogger("tests.last_words").critical("beat raised %r", "it", exc_info=True)
    assert "Traceback" in written.getvalue()


def test_what_ends_the_process_is_said_once(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error that ends the process is printed once: not again if the log has had it."""
    kept: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda _kind, error, _trace: kept.append(error))
    LAST_WORDS.watch_the_end()
    for error in (InvalidSettings(SENTENCE), InvalidSettings("logged"), ZeroDivisionError("another")):
        try:
            raise error
        except Exception as exc:
            if str(exc) == "logged":
                logging.getLogger("tests.last_words").critical("it ended", exc_info=True)
            sys.excepthook(type(exc), exc, exc.__traceback__)
    assert capsys.readouterr().err == f"{SENTENCE}\n"
    assert [str(error) for error in kept] == ["another"]


def test_celery_without_a_broker_ends_in_a_sentence(tmp_path: Path) -> None:
    """`celery beat` without a broker ends with a sentence and no traceback."""
    argv = [sys.executable, "-m", "celery", "-A", "worker", "beat"]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "CELERY_BROKER_URL (or REDIS_URL): is not set" in done.stderr
    assert "Traceback" not in done.stderr
