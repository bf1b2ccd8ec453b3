"""SQL of dead letters, and of the openings of messages that may kill their process; readable alone."""

from __future__ import annotations

from typing import Final, LiteralString

DEAD_LETTER: Final[LiteralString] = (
    "id, task_id, task_name, queue, arguments, body, error_type, error, attempts, first_attempt_at, died_at, "
    "state, settled_at, actor, reason"
)

# Records that a suspect is being opened. If it was open already the process that had it died, unless that is
# the same one, which says by `died` what became of it. Returns the deaths, and whether the last came after
# the message had been read.
OPEN_SUSPECT: Final[LiteralString] = """
INSERT INTO redeliveries AS r (task_id, task_name, deliveries, opened_at, opened_by)
VALUES (%(task_id)s, %(task_name)s, 1, now(), %(opened_by)s)
ON CONFLICT ON CONSTRAINT redeliveries_pkey
DO UPDATE SET deliveries = r.deliveries + 1, last_attempt_at = now(), opened_at = now(),
              opened_by = excluded.opened_by, is_read = false,
              deaths = r.deaths + (r.opened_at IS NOT NULL
                                   AND (r.opened_by <> excluded.opened_by OR %(died)s))::integer
RETURNING new.deaths, coalesce(old.is_read, false) AS was_read
"""

# Records that a suspect was parsed and decoded, and its process lives.
NOTE_READ: Final[LiteralString] = "UPDATE redeliveries SET is_read = true WHERE task_id = %(task_id)s"

# Records that a suspect is not open any more, although it has not ended: it waits, or was handed back.
CLOSE_SUSPECT: Final[LiteralString] = "UPDATE redeliveries SET opened_at = NULL WHERE task_id = %(task_id)s"

# The same of several, unless another process has opened them since.
CLOSE_SUSPECTS: Final[LiteralString] = """
UPDATE redeliveries SET opened_at = NULL WHERE task_id = ANY(%(task_ids)s) AND opened_by = %(opened_by)s
"""

# Forgets the count of a message that ended.
FORGET_REDELIVERIES: Final[LiteralString] = "DELETE FROM redeliveries WHERE task_id = %(task_id)s"

# Keeps a message that failed for good. A second burial of the same message adds nothing. Returns the letter's
# id alone: the rest is as large as the message, for which a process may have no room twice. What is about a
# thread whose words were forgotten is kept without them; so is, for a day, what may be about any thread.
BURY: Final[LiteralString] = """
WITH counted AS (
    DELETE FROM redeliveries WHERE task_id = %(task_id)s RETURNING first_attempt_at
)
INSERT INTO dead_letters AS d
    (task_id, task_name, queue, arguments, body, error_type, error, attempts, first_attempt_at)
SELECT %(task_id)s, %(task_name)s, %(queue)s,
       CASE WHEN is_forgotten THEN '(forgotten)' ELSE %(arguments)s::text END,
       CASE WHEN is_forgotten THEN NULL ELSE %(body)s::bytea END, %(error_type)s,
       CASE WHEN is_forgotten THEN '(forgotten)' ELSE %(error)s::text END, %(attempts)s::integer,
       coalesce((SELECT first_attempt_at FROM counted), %(first_attempt_at)s::timestamptz)
FROM (
    SELECT threadsync_is_forgotten(%(about_channel)s, %(about_thread)s, %(about_session)s)
           OR %(is_opaque)s::boolean AND EXISTS (
               SELECT FROM forget_acts WHERE at > now() - interval '1 day'
           ) AS is_forgotten
) AS about
ON CONFLICT ON CONSTRAINT dead_letters_task_id_key DO UPDATE SET attempts = d.attempts
    WHERE d.arguments IS NOT DISTINCT FROM excluded.arguments
      AND substring(d.body FROM 1 FOR 65536) IS NOT DISTINCT FROM substring(excluded.body FROM 1 FOR 65536)
RETURNING id
"""

# A page of dead letters in one state, newest first.
LIST_DEAD_LETTERS: Final[LiteralString] = f"""
SELECT {DEAD_LETTER} FROM dead_letters
WHERE state = %(state)s AND id < %(before)s::uuid
ORDER BY id DESC NULLS LAST LIMIT %(limit)s
"""

# One dead letter.
GET_DEAD_LETTER: Final[LiteralString] = (
    f"SELECT {DEAD_LETTER} FROM dead_letters WHERE id = %(dead_letter_id)s"
)

# Records who settled an open dead letter, and why. No row: there is none, or it is settled.
SETTLE_DEAD_LETTER: Final[LiteralString] = f"""
UPDATE dead_letters
SET state = %(state)s, settled_at = now(), actor = %(actor)s, reason = %(reason)s,
    settled_by = %(settled_by)s::jsonb
WHERE id = %(dead_letter_id)s AND state = 'dead'
RETURNING {DEAD_LETTER}
"""
