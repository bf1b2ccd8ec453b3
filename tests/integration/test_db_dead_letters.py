"""Dead letters and redelivery counts on the real database."""

from __future__ import annotations

import base64
import json
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.support.servers import ask
from threadsync.dead_letters import DeadLetter
from threadsync.errors import CommandFailed, DeadLetterNotFound, JiraKeyConflict, PoisonCommand
from worker.db.dead_letters.letter import Letter
from worker.db.dead_letters.store import DeadLetterStore
from worker.db.forgetting.store import ForgetStore
from worker.db.pool import Pool

ARGUMENTS = json.dumps({"args": [], "kwargs": {"channel_id": "C1", "thread_ts": "1.1", "jira_key": "PROJ-2"}})
CONFLICT = JiraKeyConflict("C1", "1.1", "PROJ-1", "PROJ-2")

NOBODYS = "00000000-0000-4000-8000-000000000000"


def bury(dead_letters: DeadLetterStore, task_id: str = "task-1", **changes: Any) -> DeadLetter:
    letter = {
        "task_id": task_id,
        "task_name": "sessions.mark_synced",
        "queue": "sessions",
        "arguments": ARGUMENTS,
        "error": CONFLICT,
        "attempts": 1,
    }
    return dead_letters.get(dead_letters.bury(Letter(**{**letter, **changes})))


def test_a_letter_keeps_all_that_is_needed(dead_letters: DeadLetterStore) -> None:
    """A new dead letter keeps name, queue, exact arguments, error, attempts and times, and is unsettled."""
    letter = bury(dead_letters, attempts=5)
    assert (letter.task_name, letter.queue, letter.arguments) == (
        "sessions.mark_synced",
        "sessions",
        ARGUMENTS,
    )
    assert (letter.error_type, letter.error, letter.attempts) == ("JiraKeyConflict", str(CONFLICT), 5)
    assert (letter.state, letter.actor, letter.reason, letter.settled_at) == ("dead", None, None, None)
    assert abs(datetime.now(UTC) - letter.died_at) < timedelta(minutes=1)
    assert dead_letters.get(str(letter.id)) == dead_letters.get(letter.id) == letter


def test_burying_twice_is_burying_once(dead_letters: DeadLetterStore) -> None:
    """Burying the same message again returns the first dead letter unchanged."""
    first = bury(dead_letters)
    again = bury(dead_letters, attempts=9, error=ValueError("something else"))
    assert again == first
    assert dead_letters.list_by_state() == [first]


def test_a_settled_letter_stays_settled(dead_letters: DeadLetterStore) -> None:
    """A late copy of the message does not reopen a settled dead letter."""
    letter = bury(dead_letters)
    dead_letters.settle(letter.id, "discarded", actor="ann", reason="a test")
    assert bury(dead_letters).state == "discarded"
    assert dead_letters.list_by_state() == []


def test_deaths_are_counted_and_deliveries_are_not(dead_letters: DeadLetterStore) -> None:
    """A suspect found open by another process, or after a known death, counts a death; a closed one none."""
    assert dead_letters.open_suspect("task-1", "sessions.get", "a") == (0, False)
    assert dead_letters.open_suspect("task-1", "sessions.get", "a") == (0, False)
    assert dead_letters.open_suspect("task-1", "sessions.get", "a", died=True) == (1, False)
    dead_letters.note_read("task-1")
    assert dead_letters.open_suspect("task-1", "sessions.get", "b") == (2, True)
    dead_letters.close_suspect("task-1")
    assert dead_letters.open_suspect("task-1", "sessions.get", "c", died=True) == (2, False)
    assert dead_letters.open_suspect("task-2", "sessions.get", "c") == (0, False)


def test_what_ended_is_forgotten(dead_letters: DeadLetterStore) -> None:
    """A forgotten count starts again at zero, and forgetting an unknown task is no error."""
    dead_letters.open_suspect("task-1", "sessions.get", "a")
    dead_letters.forget_redeliveries("task-1")
    dead_letters.forget_redeliveries("task-1")
    assert dead_letters.open_suspect("task-1", "sessions.get", "b") == (0, False)


def test_burying_ends_the_count_and_takes_its_time(dead_letters: DeadLetterStore, database_url: str) -> None:
    """Burying deletes the count, whose first attempt becomes the dead letter's."""
    dead_letters.open_suspect("task-1", "sessions.get", "a")
    counted_at = ask(database_url, "SELECT first_attempt_at FROM redeliveries")
    letter = bury(dead_letters, error=PoisonCommand("sessions.get", 5), attempts=5)
    assert letter.first_attempt_at == counted_at
    assert ask(database_url, "SELECT count(*) FROM redeliveries") == 0


def test_an_uncounted_message_has_the_time_it_is_given(dead_letters: DeadLetterStore) -> None:
    """A message without a count gets the given first attempt, or none."""
    begun = datetime.now(UTC) - timedelta(hours=1)
    assert bury(dead_letters, "task-1", first_attempt_at=begun).first_attempt_at == begun
    assert bury(dead_letters, "task-2").first_attempt_at is None


@pytest.mark.parametrize("state", ["retried", "discarded"])
def test_settling_records_who_and_why(dead_letters: DeadLetterStore, state: Any) -> None:
    """A settled dead letter moves to the list of its new state, with actor, reason and time."""
    letter = bury(dead_letters)
    settled = dead_letters.settle(str(letter.id), state, actor="ann", reason="key was mended")
    assert (settled.state, settled.actor, settled.reason) == (state, "ann", "key was mended")
    assert settled.settled_at is not None
    assert dead_letters.list_by_state("dead") == []
    assert dead_letters.list_by_state(state) == [settled]


def test_settling_twice_is_refused(dead_letters: DeadLetterStore) -> None:
    """A second settling is refused with the name of the first actor and changes nothing."""
    letter = bury(dead_letters)
    dead_letters.settle(letter.id, "retried", actor="ann", reason="mended")
    with pytest.raises(DeadLetterNotFound, match="already retried by ann: mended"):
        dead_letters.settle(letter.id, "discarded", actor="bob", reason="no use")
    assert dead_letters.get(letter.id).actor == "ann"


def test_of_racing_settlements_one_wins(dead_letters: DeadLetterStore) -> None:
    """One of eight concurrent settlements succeeds."""
    letter = bury(dead_letters)

    def settle(number: int) -> str:
        try:
            return dead_letters.settle(letter.id, "retried", actor=f"person {number}", reason="x").state
        except DeadLetterNotFound:
            return "too late"

    with ThreadPoolExecutor(8) as threads:
        assert Counter(threads.map(settle, range(8))) == {"retried": 1, "too late": 7}


@pytest.mark.parametrize("unknown", [NOBODYS, "task-1", "", "\x00", "x" * 1_000_000])
def test_an_unknown_id_is_not_found(dead_letters: DeadLetterStore, unknown: str) -> None:
    """Any unknown or malformed id raises DeadLetterNotFound with a short message."""
    with pytest.raises(DeadLetterNotFound, match="threadsync dead list") as refusal:
        dead_letters.get(unknown)
    assert len(str(refusal.value)) < 300
    with pytest.raises(DeadLetterNotFound):
        dead_letters.settle(unknown, "retried", actor="ann", reason="x")


def test_pages_go_from_new_to_old(dead_letters: DeadLetterStore) -> None:
    """Pages list dead letters from new to old, each after the last id of the previous page."""
    ids = [bury(dead_letters, f"task-{number}").id for number in range(5)][::-1]
    pages, before = [], None
    while page := dead_letters.list_by_state(limit=2, before=before):
        pages += [letter.id for letter in page]
        before = page[-1].id
    assert pages == ids


def test_bytes_that_nobody_can_read_are_kept(dead_letters: DeadLetterStore) -> None:
    """A body of arbitrary bytes is returned unchanged, and survives JSON."""
    junk = bytes(range(256))
    letter = bury(dead_letters, arguments=None, body=junk)
    assert dead_letters.get(letter.id).body == junk
    assert DeadLetter.model_validate_json(letter.model_dump_json()).body == junk


@pytest.mark.parametrize("text", ["\x00", "half \ud83c of a pair", "x" * 1_000_000, "🎫"])
def test_hostile_text_can_be_buried(dead_letters: DeadLetterStore, text: str) -> None:
    """A message with hostile text as its id, names, error or arguments can be buried."""
    dead_letters.open_suspect(text, text, "a")
    letter = bury(dead_letters, text, task_name=text, queue=text, error=ValueError(text), arguments=text)
    assert dead_letters.get(letter.id) == letter
    assert bury(dead_letters, text, arguments=text).id == letter.id
    assert bury(dead_letters, text + "!").id != letter.id


def test_ids_are_ordered(dead_letters: DeadLetterStore) -> None:
    """A dead letter's id is a UUID that grows with time."""
    assert isinstance(bury(dead_letters).id, UUID)
    assert bury(dead_letters, "a").id < bury(dead_letters, "b").id


PERSON = "U0OCELOT"
SPELLINGS = {
    "as it is": PERSON.encode(),
    "escaped": b'["\\u0055\\u0030OCELOT"]',
    "UTF-16": PERSON.encode("utf-16-le"),
    "of a URL": b"user=%550OCELOT",
    "no text": b"\xff" + PERSON.encode(),
    "packed": base64.b64encode(zlib.compress(PERSON.encode() * 3) + bytes(30)),
}


@pytest.mark.parametrize("body", SPELLINGS.values(), ids=SPELLINGS)
def test_a_letter_keeps_no_spelling_of_who_was_forgotten(
    dead_letters: DeadLetterStore, pool: Pool, body: bytes
) -> None:
    """A dead letter about a forgotten person has no spelling of the id in its body, name, id or error."""
    forgets = ForgetStore(pool)
    forgets.expect_person(forgets.begin("user", None, actor="ann", reason="asked for"), PERSON)
    error = CommandFailed(f"no task {PERSON}")
    letter = bury(dead_letters, PERSON, task_name=PERSON, arguments=None, body=body, error=error)
    assert letter.body is None
    assert PERSON not in repr(letter)
    assert bury(dead_letters, "another", arguments=None, body=b"[1, 2").body == b"[1, 2"
