"""The SQL of status messages, readable alone. `syncs.announce_at` says that the message is out of date.

Who works on a message has claimed it, and every later write says the claim's ``fence``. A change of the sync
while a message is on its way sets another `announce_at`, and so is shown next.
"""
# ruff: noqa: S608 - the only f-strings here insert the fragments above; values are always parameters

from __future__ import annotations

from typing import Final, LiteralString

# The database's clock, unless a test has one of its own.
_NOW: Final = "coalesce(%(now)s::timestamptz, now())"
_MINE: Final = "m.session_id = %(session_id)s AND m.fence = %(fence)s"
# Nobody has changed what is to be shown since the claim.
_AS_SEEN: Final = "s.announce_at = %(announce_at)s"

# Takes the message of a sync whose message is out of date. No row: it is not, or somebody has it, or Slack
# wants to be left alone.
CLAIM: Final[LiteralString] = f"""
WITH due AS (
    SELECT s.session_id, s.announce_at, t.channel_id, t.thread_ts
    FROM syncs s JOIN thread_sessions t ON t.id = s.session_id
    WHERE s.session_id = %(session_id)s AND s.announce_at IS NOT NULL
), claimed AS (
    INSERT INTO status_messages AS m (session_id, fence, lease_until)
    SELECT session_id, 1, {_NOW} + make_interval(secs => %(lease)s) FROM due
    ON CONFLICT ON CONSTRAINT status_messages_pkey DO UPDATE
    SET fence = m.fence + 1, lease_until = excluded.lease_until
    WHERE m.lease_until IS NULL OR m.lease_until <= {_NOW}
    RETURNING m.session_id, m.fence, m.message_ts, m.post_begun_at, m.shown, m.failures
)
SELECT c.session_id, c.fence, c.message_ts, c.post_begun_at, c.shown, c.failures, due.announce_at,
       due.channel_id, due.thread_ts, {_NOW} AS now
FROM claimed c JOIN due ON due.session_id = c.session_id
"""

# Commits to a post before it is sent. No row: the claim is lost.
BEGIN_POST: Final[LiteralString] = f"""
UPDATE status_messages m SET post_begun_at = {_NOW} WHERE {_MINE} RETURNING m.post_begun_at
"""

# The message was found where it had been posted; `shown` is null, as nobody knows what it shows.
ADOPT: Final[LiteralString] = f"""
UPDATE status_messages m SET message_ts = %(message_ts)s WHERE {_MINE} RETURNING m.session_id
"""

# The message is not there any more. It is looked for once more before another one is posted.
FORGET: Final[LiteralString] = f"""
UPDATE status_messages m
SET message_ts = NULL, shown = NULL, post_begun_at = coalesce(m.post_begun_at, {_NOW})
WHERE {_MINE}
RETURNING m.post_begun_at
"""

# Slack shows it now. No row: the claim is lost.
SHOWN: Final[LiteralString] = f"""
WITH kept AS (
    UPDATE status_messages m
    SET message_ts = %(message_ts)s, shown = %(shown)s, lease_until = NULL, failures = 0
    WHERE {_MINE}
    RETURNING m.session_id
), current AS (
    UPDATE syncs s SET announce_at = NULL FROM kept WHERE s.session_id = kept.session_id AND {_AS_SEEN}
)
SELECT session_id FROM kept
"""

# Not now. The lease holds until then, with nobody behind it: also a newer change has to wait.
PUT_OFF: Final[LiteralString] = f"""
WITH kept AS (
    UPDATE status_messages m
    SET failures = %(failures)s, lease_until = {_NOW} + make_interval(secs => %(seconds)s::float8),
        post_begun_at = CASE WHEN %(maybe_posted)s THEN m.post_begun_at
                             ELSE %(post_begun_at)s::timestamptz END
    WHERE {_MINE}
    RETURNING m.session_id, m.lease_until
), later AS (
    UPDATE syncs s SET announce_at = greatest(s.announce_at, kept.lease_until)
    FROM kept WHERE s.session_id = kept.session_id AND s.announce_at IS NOT NULL
)
SELECT session_id FROM kept
"""

# Not before the sync's next change.
STOP: Final[LiteralString] = f"""
WITH kept AS (
    UPDATE status_messages m
    SET failures = 0, lease_until = NULL,
        post_begun_at = CASE WHEN %(maybe_posted)s THEN m.post_begun_at
                             ELSE %(post_begun_at)s::timestamptz END
    WHERE {_MINE}
    RETURNING m.session_id
), stopped AS (
    UPDATE syncs s SET announce_at = NULL FROM kept WHERE s.session_id = kept.session_id AND {_AS_SEEN}
)
SELECT session_id FROM kept
"""

# Syncs whose message is out of date, oldest first. Nobody else gets them for a while: if theirs is lost in
# the broker, they come up again.
TAKE_DUE: Final[LiteralString] = f"""
WITH due AS (
    SELECT s.session_id FROM syncs s
    WHERE s.announce_at <= {_NOW} AND NOT EXISTS (
        SELECT FROM status_messages m WHERE m.session_id = s.session_id AND m.lease_until > {_NOW}
    )
    ORDER BY s.announce_at LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
)
UPDATE syncs s SET announce_at = {_NOW} + make_interval(secs => %(for_seconds)s::float8)
WHERE s.session_id = ANY (ARRAY(SELECT session_id FROM due))
RETURNING s.session_id
"""
