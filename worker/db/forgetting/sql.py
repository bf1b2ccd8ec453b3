"""SQL of forgetting, readable alone: it calls the functions of ``functions.py``."""

from __future__ import annotations

from typing import Final, LiteralString

# Notes the act, before anything is forgotten by it.
BEGIN: Final[LiteralString] = """
INSERT INTO forget_acts (what, subject, actor, reason, acted_by)
VALUES (%(what)s, %(subject)s, %(actor)s, %(reason)s, %(acted_by)s::jsonb) RETURNING id
"""

# The sessions of a thread, its own and those of other ids of its channel; each under all these ids.
SESSIONS_OF_THREAD: Final[LiteralString] = """
SELECT DISTINCT o.id, known.as_id AS channel_id, o.thread_ts FROM thread_sessions t
JOIN thread_sessions o ON o.id IN (t.id, t.alias_of) OR o.alias_of IN (t.id, t.alias_of),
LATERAL (
    SELECT o.channel_id AS as_id
    UNION SELECT a.channel_id FROM channel_aliases a WHERE a.home_id = o.channel_id
) AS known
WHERE t.id = %(session_id)s
"""

KNOWS_CHANNEL: Final[LiteralString] = """
SELECT EXISTS (SELECT FROM thread_sessions WHERE channel_id = %(channel_id)s::text)
    OR EXISTS (SELECT FROM channel_aliases WHERE channel_id = %(channel_id)s::text) AS is_known
"""

# A page of the sessions that are still to be forgotten with their channel.
SESSIONS_OF_CHANNELS: Final[LiteralString] = """
SELECT id FROM thread_sessions
WHERE channel_id = ANY (%(channel_ids)s::text[]) AND forgotten_at IS NULL
ORDER BY id LIMIT %(most)s
"""

FORGET_SESSIONS: Final[LiteralString] = """
SELECT threadsync_forget_sessions(%(act)s::uuid, %(sessions)s::uuid[]) AS waiting
"""

FORGET_CHANNEL: Final[LiteralString] = """
SELECT threadsync_forget_channel(%(act)s::uuid, %(channel_id)s::text) AS channel_ids
"""

FORGET_PERSON: Final[LiteralString] = """
SELECT threadsync_forget_person(%(act)s::uuid, %(person)s::text)
"""

FORGET_OPENED_BY: Final[LiteralString] = """
SELECT sessions, waiting FROM threadsync_forget_opened_by(%(act)s::uuid, %(person)s::text, %(most)s::integer)
"""

FORGET_NAMED: Final[LiteralString] = """
SELECT threadsync_forget_named(%(act)s::uuid, %(place)s::text, %(person)s::text, %(names)s::text[]) AS changed
"""

FORGET_LETTERS: Final[LiteralString] = """
SELECT threadsync_forget_letters(%(act)s::uuid, %(letters)s::uuid[], %(openings)s::text[]) AS deleted
"""

FORGET_SETTLED: Final[LiteralString] = "SELECT threadsync_forget_settled() AS settled"

RETAIN: Final[LiteralString] = """
SELECT drafts, letters, sessions
FROM threadsync_retain(%(drafts_days)s::integer, %(letters_days)s::integer, %(sessions_days)s::integer,
                       %(most)s::integer)
"""

# A page of dead letters, whole: what they are about stands in their arguments, or in their bytes.
LETTERS: Final[LiteralString] = """
SELECT * FROM dead_letters
WHERE id > %(after)s::uuid ORDER BY id LIMIT %(most)s
"""

# Records of openings, by the ids of their messages, which a client may have made of anything.
OPENINGS: Final[LiteralString] = "SELECT task_id, task_name FROM redeliveries"

# The threads that the person opened, under all ids of their channels, for letters that are about them. Those
# too from which an act of the last day has taken an opener: it may have ended before it came to the letters.
OPENED_BY: Final[LiteralString] = """
SELECT t.id, known.as_id AS channel_id, t.thread_ts FROM thread_sessions t,
LATERAL (
    SELECT t.channel_id AS as_id
    UNION SELECT a.channel_id FROM channel_aliases a WHERE a.home_id = t.channel_id
) AS known
WHERE upper(t.user_id) = upper(%(person)s)
   OR t.user_id = 'forgotten' AND t.forgotten_at IS NULL
      AND t.drafts_since > extract(epoch FROM now() - interval '1 day')
"""

# People of the last day, whose messages may be on their way.
PEOPLE: Final[LiteralString] = """
SELECT key, hash, letters FROM forgotten_people WHERE forgotten_at > now() - interval '1 day'
"""

# Whether a thread, or a session, is a tombstone.
IS_TOMBSTONE: Final[LiteralString] = """
SELECT EXISTS (
    SELECT FROM thread_sessions WHERE id = %(session_id)s::uuid AND forgotten_at IS NOT NULL
) OR EXISTS (
    SELECT FROM thread_sessions
    WHERE channel_id = coalesce(
              (SELECT home_id FROM channel_aliases WHERE channel_id = %(channel_id)s::text),
              %(channel_id)s::text
          ) AND thread_ts = %(thread_ts)s::text AND forgotten_at IS NOT NULL
) AS is_tombstone
"""
