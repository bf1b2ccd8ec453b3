"""SQL of status messages. `syncs.announce_at` says that the message is out of date.

A process claims a message first, and every later write says the claim's ``fence``. A change of the sync
while a message is on its way sets another `announce_at`, and so is shown next.
"""

from __future__ import annotations

from typing import Final, LiteralString

# The database's clock, unless a test has one of its own.
_NOW: Final = "coalesce(%(now)s::timestamptz, now())"
_MINE: Final = "m.session_id = %(session_id)s AND m.fence = %(fence)s"
# The sync has not changed since the claim.
_AS_SEEN: Final = "s.announce_at = %(announce_at)s"

# Slack takes what we say: its token is not refused.
_TAKES_US: Final = "NOT EXISTS (SELECT FROM slack_installation i WHERE i.trouble IS NOT NULL)"

# Takes the message of a sync whose message is out of date. No row: it is not, or another process has it, or
# Slack wants to be left alone, or refuses us.
CLAIM: Final[LiteralString] = f"""
WITH due AS (
    SELECT s.session_id, s.announce_at, t.thread_ts,
           coalesce(
               (SELECT a.newest_id FROM channel_aliases a WHERE a.channel_id = t.channel_id), t.channel_id
           ) AS channel_id
    FROM syncs s JOIN thread_sessions t ON t.id = s.session_id
    WHERE s.session_id = %(session_id)s AND s.announce_at IS NOT NULL AND {_TAKES_US}
), claimed AS (
    INSERT INTO status_messages AS m (session_id, fence, lease_until)
    SELECT session_id, 1, {_NOW} + make_interval(secs => %(lease)s) FROM due
    ON CONFLICT ON CONSTRAINT status_messages_pkey DO UPDATE
    SET fence = m.fence + 1, lease_until = excluded.lease_until
    WHERE m.lease_until IS NULL OR m.lease_until <= {_NOW}
    RETURNING m.session_id, m.fence, m.message_ts, m.post_begun_at, m.shown, m.failures, m.refusals,
              m.replaced_ts
)
SELECT c.session_id, c.fence, c.message_ts, c.post_begun_at, c.shown, c.failures, c.refusals, c.replaced_ts,
       due.announce_at, due.channel_id, due.thread_ts, {_NOW} AS now
FROM claimed c JOIN due ON due.session_id = c.session_id
"""

# Commits to a post before it is sent. No row: the claim is lost.
BEGIN_POST: Final[LiteralString] = f"""
UPDATE status_messages m SET post_begun_at = {_NOW} WHERE {_MINE} RETURNING m.post_begun_at
"""

# The message was found where it had been posted; `shown` is null, as its content is not known.
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

# The message cannot be edited any more: another one says what is true, and this one is not looked for again.
REPLACE: Final[LiteralString] = f"""
UPDATE status_messages m
SET message_ts = NULL, shown = NULL, post_begun_at = NULL, replaced_ts = m.message_ts
WHERE {_MINE} AND m.message_ts IS NOT NULL
RETURNING m.replaced_ts
"""

# Slack shows it now. No row: the claim is lost.
SHOWN: Final[LiteralString] = f"""
WITH kept AS (
    UPDATE status_messages m
    SET message_ts = %(message_ts)s, shown = %(shown)s, lease_until = NULL, failures = 0, refusals = 0,
        trouble = NULL
    WHERE {_MINE}
    RETURNING m.session_id
), current AS (
    UPDATE syncs s SET announce_at = NULL FROM kept WHERE s.session_id = kept.session_id AND {_AS_SEEN}
)
SELECT session_id FROM kept
"""

# Not now. The lease holds until then, without a process behind it: a newer change has to wait, too. Not so
# after a refusal: that was about this message, and another state may find us invited to the channel.
PUT_OFF: Final[LiteralString] = f"""
WITH kept AS (
    UPDATE status_messages m
    SET failures = %(failures)s, refusals = %(refusals)s, trouble = coalesce(%(refusal)s::text, m.trouble),
        lease_until = CASE WHEN %(refusal)s::text IS NULL
                           THEN {_NOW} + make_interval(secs => %(seconds)s::float8) END,
        post_begun_at = CASE WHEN %(maybe_posted)s THEN m.post_begun_at
                             ELSE %(post_begun_at)s::timestamptz END
    WHERE {_MINE}
    RETURNING m.session_id
), later AS (
    UPDATE syncs s
    SET announce_at = greatest(s.announce_at, {_NOW} + make_interval(secs => %(seconds)s::float8))
    FROM kept
    WHERE s.session_id = kept.session_id AND s.announce_at IS NOT NULL
      AND (%(refusal)s::text IS NULL OR {_AS_SEEN})
)
SELECT session_id FROM kept
"""

# Stop until the sync's next change; `trouble` is the reason.
STOP: Final[LiteralString] = f"""
WITH kept AS (
    UPDATE status_messages m
    SET failures = 0, refusals = 0, lease_until = NULL, trouble = %(refusal)s,
        post_begun_at = CASE WHEN %(maybe_posted)s THEN m.post_begun_at
                             ELSE %(post_begun_at)s::timestamptz END
    WHERE {_MINE}
    RETURNING m.session_id
), stopped AS (
    UPDATE syncs s SET announce_at = NULL FROM kept WHERE s.session_id = kept.session_id AND {_AS_SEEN}
)
SELECT session_id FROM kept
"""

# Slack refuses us whatever we say: the message stays out of date, and with it all others, until a probe
# succeeds. A refusal soon after such a success means that probes say little: then they become rarer.
PARK: Final[LiteralString] = f"""
WITH kept AS (
    UPDATE status_messages m
    SET lease_until = NULL,
        post_begun_at = CASE WHEN %(maybe_posted)s THEN m.post_begun_at
                             ELSE %(post_begun_at)s::timestamptz END
    WHERE {_MINE}
    RETURNING m.session_id
), pause AS (
    SELECT CASE WHEN i.good_since > {_NOW} - interval '1 hour'
                THEN least(greatest(2 * i.probe_seconds, %(first_pause)s::float8), %(longest_pause)s::float8)
                ELSE %(first_pause)s::float8 END AS seconds
    FROM slack_installation i
), opened AS (
    INSERT INTO slack_installation AS i (trouble, trouble_since, next_probe_at, probe_seconds)
    SELECT %(refusal)s, {_NOW}, {_NOW} + make_interval(secs => p.seconds), p.seconds
    FROM (SELECT coalesce((SELECT seconds FROM pause), %(first_pause)s::float8) AS seconds) AS p
    ON CONFLICT ON CONSTRAINT slack_installation_pkey DO UPDATE
    SET trouble = coalesce(i.trouble, excluded.trouble),
        trouble_since = coalesce(i.trouble_since, excluded.trouble_since),
        next_probe_at = coalesce(i.next_probe_at, excluded.next_probe_at),
        probe_seconds = CASE WHEN i.trouble IS NULL THEN excluded.probe_seconds ELSE i.probe_seconds END
)
SELECT session_id FROM kept
"""

# Takes the probe of Slack. The pause grows to a minute at most, unless it
# was longer already.
TAKE_PROBE: Final[LiteralString] = f"""
UPDATE slack_installation i
SET next_probe_at = {_NOW} + make_interval(secs => i.probe_seconds),
    probe_seconds = greatest(i.probe_seconds, least(2 * i.probe_seconds, 60))
WHERE i.id AND i.next_probe_at <= {_NOW}
RETURNING i.trouble
"""

# Slack refuses us still, perhaps for another reason.
STILL_REFUSED: Final[LiteralString] = """
UPDATE slack_installation i SET trouble = %(refusal)s WHERE i.id AND i.trouble IS NOT NULL RETURNING i.trouble
"""

# Slack takes us again: what waits is due.
TAKEN_AGAIN: Final[LiteralString] = f"""
UPDATE slack_installation i
SET trouble = NULL, trouble_since = NULL, next_probe_at = NULL, good_since = {_NOW}
WHERE i.id AND i.trouble IS NOT NULL
RETURNING i.good_since
"""

# Counts the messages that are out of date, and those that Slack refuses.
COUNT_UNSAID: Final[LiteralString] = """
SELECT (SELECT count(*) FROM syncs s WHERE s.announce_at <= now()) AS unsaid,
       (SELECT count(*) FROM status_messages m WHERE m.trouble IS NOT NULL) AS refused
"""

# Why Slack refuses us, and since when; no row while it does not.
TROUBLE: Final[LiteralString] = """
SELECT i.trouble, i.trouble_since FROM slack_installation i WHERE i.id AND i.trouble IS NOT NULL
"""

# Syncs whose message is out of date, oldest first. No other caller gets them for a while: if their task is
# lost in the broker, they come up again.
TAKE_DUE: Final[LiteralString] = f"""
WITH due AS (
    SELECT s.session_id FROM syncs s
    WHERE s.announce_at <= {_NOW} AND {_TAKES_US} AND NOT EXISTS (
        SELECT FROM status_messages m WHERE m.session_id = s.session_id AND m.lease_until > {_NOW}
    )
    ORDER BY s.announce_at LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
)
UPDATE syncs s SET announce_at = {_NOW} + make_interval(secs => %(for_seconds)s::float8)
WHERE s.session_id = ANY (ARRAY(SELECT session_id FROM due))
RETURNING s.session_id
"""
