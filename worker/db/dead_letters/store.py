"""Dead letters, and counts of deaths: a poison message must not loop, a failed one must not be lost."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Literal
from uuid import UUID

import psycopg
from psycopg.rows import DictRow

from threadsync.actors import AnyActor, as_json
from threadsync.dead_letters import DeadLetter, DeadLetterState
from threadsync.errors import CommandFailed, DeadLetterNotFound
from worker.db.dead_letters import sql as queries
from worker.db.dead_letters.letter import LONGEST_NAME, Letter, as_key, as_name, printable
from worker.db.forgetting.arrivals import Redaction
from worker.db.forgetting.store import ForgetStore
from worker.db.store import Store


class DeadLetterStore(Store):
    """Dead letters, and the openings of messages that may kill their process."""

    def open_suspect(
        self, key: str, task_name: str, opened_by: str, *, died: bool = False
    ) -> tuple[int, bool]:
        """Record that ``opened_by`` opens the message now; ``died``: its last opening by the same ended so.

        Returns how often it has ended its process, and whether the last time came after it had been read.
        """
        params = {
            "task_id": as_key(key),
            "task_name": as_name(task_name),
            "opened_by": opened_by,
            "died": died,
        }
        row = self._rows(queries.OPEN_SUSPECT, params)[0]
        return int(row["deaths"]), bool(row["was_read"])

    def note_read(self, key: str) -> None:
        """Record that the open message was parsed and decoded, and that its process lives."""
        self._rows(queries.NOTE_READ, {"task_id": as_key(key)})

    def close_suspect(self, key: str) -> None:
        """Record that the message is no longer open; its deaths stay."""
        self._rows(queries.CLOSE_SUSPECT, {"task_id": as_key(key)})

    def close_suspects(self, keys: Sequence[str], opened_by: str) -> None:
        """Record that messages are no longer open, as far as ``opened_by`` was the last to open them."""
        params = {"task_ids": [as_key(key) for key in keys], "opened_by": opened_by}
        self._rows(queries.CLOSE_SUSPECTS, params)

    def forget_redeliveries(self, key: str) -> None:
        """Delete the deaths of a message that has ended."""
        self._rows(queries.FORGET_REDELIVERIES, {"task_id": as_key(key)})

    def bury(self, letter: Letter) -> UUID:
        """Keep a message; return the id of its dead letter.

        Repeatable: a second burial of the same message changes nothing, and returns the first one's id.
        Another message that has the same task id gets a dead letter of its own.
        """
        return self.keep([letter])[0]

    def keep(self, letters: Sequence[Letter]) -> list[UUID]:
        """Write all of these dead letters, or none."""
        known = Redaction(ForgetStore(self._pool).people())
        with (
            self._connection() as connection,
            # One is a transaction by itself.
            connection.transaction() if len(letters) > 1 else nullcontext(),
        ):
            return [_kept(connection, letter.without_forgotten(known)) for letter in letters]

    def takes_letters(self) -> bool:
        """Return True if a sound dead letter could be written now; else raise the reason."""
        probe = Letter("probe", "probe", "probe", CommandFailed("probe"), 1, arguments="{}")
        with self._connection() as connection, connection.transaction(force_rollback=True):
            _kept(connection, probe)
        return True

    def list_by_state(
        self, state: DeadLetterState = "dead", limit: int = 50, before: UUID | None = None
    ) -> list[DeadLetter]:
        """Return dead letters in one state, newest first, from before the id ``before``."""
        params = {"state": state, **self._page(limit, before)}
        return [DeadLetter.of_row(row) for row in self._rows(queries.LIST_DEAD_LETTERS, params)]

    def get(self, dead_letter_id: UUID | str) -> DeadLetter:
        """Return one dead letter. Raises ``DeadLetterNotFound``."""
        rows = self._rows(queries.GET_DEAD_LETTER, {"dead_letter_id": _id(dead_letter_id)})
        if not rows:
            raise DeadLetterNotFound(f"no dead letter {dead_letter_id}; see: threadsync dead list")
        return DeadLetter.of_row(rows[0])

    def settle(
        self,
        dead_letter_id: UUID | str,
        state: Literal["retried", "discarded"],
        *,
        actor: str,
        reason: str,
        acted_by: AnyActor | None = None,
    ) -> DeadLetter:
        """Settle a dead letter; record by whom and why. Raises ``DeadLetterNotFound`` if it was settled."""
        params = {
            "dead_letter_id": _id(dead_letter_id),
            "state": state,
            "actor": printable(actor),
            "reason": printable(reason),
            "settled_by": as_json(acted_by),
        }
        rows = self._rows(queries.SETTLE_DEAD_LETTER, params)
        if not rows:
            raise already_settled(self.get(dead_letter_id))
        return DeadLetter.of_row(rows[0])


def already_settled(letter: DeadLetter) -> DeadLetterNotFound:
    """Return the error for a dead letter that is settled already; it names by whom, and why."""
    return DeadLetterNotFound(
        f"dead letter {letter.id} was already {letter.state} by {letter.actor}: {letter.reason}"
    )


def _kept(connection: psycopg.Connection[DictRow], letter: Letter) -> UUID:
    params = letter.params()
    row = connection.execute(queries.BURY, params).fetchone()
    if row is None:
        # Another message's. Of the sender's own making, or of one that was made to look like it.
        params["task_id"] = f"{params['task_id'][: LONGEST_NAME - 20]}#{letter.content()}"
        row = connection.execute(queries.BURY, params).fetchone()
    assert row is not None  # noqa: S101 - what the key stands for is the content
    found: UUID = row["id"]
    return found


def _id(value: UUID | str) -> UUID:
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except ValueError:
        raise DeadLetterNotFound(
            f"{str(value)[:40]!r} is not the id of a dead letter; see: threadsync dead list"
        ) from None
