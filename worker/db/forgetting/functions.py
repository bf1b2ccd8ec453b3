"""Functions that forget, made of the declared columns: the only code that may erase personal data.

They are SECURITY DEFINER, of a role that may do this and nothing else (``roles.sql``), so a worker's login
forgets by them and can delete nothing by itself. An operator's act names its row in ``forget_acts``.

    threadsync_forget_sessions    threads: their rows become their own tombstones
    threadsync_forget_channel     a channel: its context goes, and threads to come of before are tombstones
    threadsync_forget_person      from now on, messages that name the person are redacted as they arrive
    threadsync_forget_opened_by   sessions that the person opened, some at a time
    threadsync_forget_named       other rows that name the person, a table at a time
    threadsync_forget_letters     dead letters and records of openings
    threadsync_forget_settled     sessions that waited for a sync in doubt
    threadsync_retain             rows older than the settings let them become, some at a time
"""
# ruff: noqa: S608 - made of names that stand in `columns.py` and here

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, LiteralString

from worker.db.forgetting.columns import of_kinds, tables
from worker.db.forgetting.fragments import (
    LATER,
    OF_A_PERSON,
    OF_THE_CHANNEL,
    OF_THEIR_SUBJECT,
    author,
    clear_all_of,
    clear_channels,
    clear_details_of,
    cleared,
    forget_in,
    home,
    known_act,
    lines,
)

_OPEN: Final = "('inflight', 'unknown')"
_NOW: Final = "extract(epoch FROM now())::numeric(25, 9)"
# Scripts from Thai on do not put spaces between words.
_NO_SPACES_FROM: Final = "3584"
_FLAGGED: Final = """ARRAY(
        SELECT session_id FROM syncs WHERE session_id = ANY (sessions) AND forgetting IS NOT NULL)"""


@dataclass(frozen=True, slots=True)
class Function:
    """A SQL function of ours; ``is_ours``: only our other functions call it."""

    name: LiteralString
    takes: LiteralString
    returns: LiteralString
    body: LiteralString
    is_ours: bool = False

    @property
    def signature(self) -> LiteralString:
        types = (argument.partition(" ")[2] for argument in self.takes.split(", ")) if self.takes else ()
        return f"{self.name}({', '.join(types)})"


NAMED_IN: Final = tables("person", "name", "actor", "draft", "detail", "words")
"""Tables that ``threadsync_forget_named`` searches."""

FUNCTIONS: Final = (
    Function(
        "threadsync_settle_forgotten",
        "sessions uuid[]",
        "integer",
        # A step under way has the draft in memory: its claim is taken away, so that it writes nothing.
        f"""
BEGIN
    {lines(clear_details_of(_FLAGGED))}
    UPDATE syncs SET
        state = CASE WHEN state = 'done' THEN 'done' ELSE 'failed' END,
        reason = CASE WHEN state <> 'done' THEN 'forgotten' END,
        parked = false, next_attempt_at = NULL, queued_until = NULL, lease_until = NULL, turn_until = NULL,
        fence = fence + 1, announce_at = NULL, updated_at = now(), forgetting = NULL
    WHERE session_id = ANY (sessions) AND forgetting = 'tombstone' AND state NOT IN {_OPEN};
    UPDATE syncs SET
        fence = CASE WHEN lease_until IS NULL THEN fence ELSE fence + 1 END, lease_until = NULL,
        forgetting = NULL
    WHERE session_id = ANY (sessions) AND forgetting = 'words' AND state NOT IN {_OPEN};
    RETURN (SELECT count(*) FROM syncs WHERE session_id = ANY (sessions) AND forgetting IS NOT NULL);
END
""",
        is_ours=True,
    ),
    Function(
        "threadsync_make_tombstones",
        "sessions uuid[]",
        "integer",
        f"""
BEGIN
    PERFORM FROM thread_sessions WHERE id = ANY (sessions) ORDER BY id FOR UPDATE;
    PERFORM FROM syncs WHERE session_id = ANY (sessions) ORDER BY session_id FOR UPDATE;
    {lines(clear_all_of("sessions"))}
    UPDATE thread_sessions SET
        forgotten_at = coalesce(forgotten_at, now()), drafts_since = NULL, updated_at = now()
    WHERE id = ANY (sessions);
    UPDATE syncs SET
        draft = threadsync_without_words(draft), drafted_at = greatest({LATER}, {_NOW}),
        forgetting = 'tombstone'
    WHERE session_id = ANY (sessions);
    RETURN threadsync_settle_forgotten(sessions);
END
""",
        is_ours=True,
    ),
    Function(
        "threadsync_forget_sessions",
        "act uuid, sessions uuid[]",
        "integer",
        f"""
BEGIN{known_act(OF_THEIR_SUBJECT)}
    RETURN threadsync_make_tombstones(sessions);
END
""",
    ),
    Function(
        "threadsync_forget_channel",
        "act uuid, channel text",
        "text[]",
        f"""
DECLARE
    home text := {home("channel")};
    ids  text[] := ARRAY(SELECT channel_id FROM channel_aliases WHERE home_id = home) || home || channel;
BEGIN{known_act(OF_THE_CHANNEL)}
    INSERT INTO forgotten_channels (channel_id) SELECT DISTINCT unnest(ids)
    ON CONFLICT ON CONSTRAINT forgotten_channels_pkey DO UPDATE SET forgotten_at = now();
    -- What opens a session or patches the context now has not seen this; what does so afterwards has.
    LOCK TABLE thread_sessions, channel_context IN SHARE ROW EXCLUSIVE MODE;
    UPDATE channel_context SET version = version + 1, updated_at = now() WHERE channel_id = ANY (ids);
    {lines(clear_channels("ids"))}
    RETURN ids;
END
""",
    ),
    Function(
        "threadsync_forget_person",
        "act uuid, person text",
        "void",
        f"""
DECLARE
    secret bytea := uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
BEGIN{known_act(OF_A_PERSON)}
    INSERT INTO forgotten_people (key, hash, letters)
    VALUES (secret, threadsync_person_hash(secret, person), length(person));
    LOCK TABLE thread_sessions, syncs IN SHARE ROW EXCLUSIVE MODE;
END
""",
    ),
    Function(
        "threadsync_forget_opened_by",
        "act uuid, person text, most integer",
        "TABLE (sessions integer, waiting integer)",
        f"""
DECLARE
    opened uuid[];
BEGIN{known_act(OF_A_PERSON)}
    opened := ARRAY(
        SELECT t.id FROM thread_sessions t
        WHERE upper(t.user_id) = upper(person)
           OR EXISTS (SELECT FROM syncs s WHERE s.session_id = t.id AND {author("s")[0]})
        ORDER BY t.id LIMIT most FOR UPDATE OF t
    );
    PERFORM FROM syncs WHERE session_id = ANY (opened) ORDER BY session_id FOR UPDATE;
    UPDATE syncs s SET
        draft = threadsync_without_words(draft), drafted_at = greatest({LATER}, {_NOW}),
        {"".join(f"{column.name} = {column.cleared}, " for column in of_kinds("syncs", "actor"))}
        forgetting = coalesce(forgetting, 'words')
    WHERE session_id = ANY (opened) AND ({author("s")[0]} OR {author("s")[1]});
    UPDATE thread_sessions SET
        user_id = CASE WHEN upper(user_id) = upper(person) THEN 'forgotten' ELSE user_id END,
        drafts_since = CASE WHEN forgotten_at IS NULL THEN {_NOW} END, updated_at = now()
    WHERE id = ANY (opened);
    waiting := threadsync_settle_forgotten(opened);
    sessions := cardinality(opened);
    RETURN NEXT;
END
""",
    ),
    Function(
        "threadsync_forget_named",
        "act uuid, place text, person text, names text[]",
        "integer",
        # As a word of its own, in any case of letters, and with any space in it; in JSON some letters are
        # written with a backslash, and a word at the beginning of a line has one before it. The collation
        # knows all letters, whatever the database's own does.
        f"""
DECLARE
    pattern text COLLATE pg_c_utf8 := (
        SELECT string_agg(DISTINCT
            CASE WHEN word ~ '^[[:alnum:]]' AND ascii(word) < {_NO_SPACES_FROM}
                 THEN '(?:(?<![[:alnum:]])|(?<=\\\\[bfnrt])|(?<=\\\\u[0-9a-f]{{4}}))' ELSE '' END
            || regexp_replace(
                regexp_replace(word, '([][\\\\^$.|?*+(){{}}-])', '\\\\\\1', 'g'),
                '[[:space:]]+', '(?:[[:space:]]|\\\\\\\\[nrt])+', 'g'
            )
            || CASE WHEN word ~ '[[:alnum:]]$' AND ascii(right(word, 1)) < {_NO_SPACES_FROM}
                    THEN '(?![[:alnum:]])' ELSE '' END,
            '|')
        FROM unnest(names || person) AS given,
             LATERAL (
                 VALUES (given COLLATE pg_c_utf8),
                        (substr(to_jsonb(given)::text, 2, length(to_jsonb(given)::text) - 2))
             ) AS written (word)
        WHERE word <> ''
    );
    changed integer;
BEGIN{known_act(OF_A_PERSON)}
    CASE place {"".join(forget_in(table) for table in NAMED_IN)}
    END CASE;
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
""",
    ),
    Function(
        "threadsync_forget_letters",
        "act uuid, letters uuid[], openings text[]",
        "integer",
        f"""
DECLARE
    deleted integer;
BEGIN{known_act()}
    DELETE FROM dead_letters WHERE id = ANY (letters);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    DELETE FROM redeliveries WHERE task_id = ANY (openings);
    RETURN deleted;
END
""",
    ),
    Function(
        "threadsync_forget_settled",
        "",
        "integer",
        f"""
DECLARE
    settled uuid[];
BEGIN
    settled := ARRAY(
        SELECT session_id FROM syncs WHERE forgetting IS NOT NULL AND state NOT IN {_OPEN}
        ORDER BY session_id LIMIT 500 FOR UPDATE SKIP LOCKED
    );
    PERFORM threadsync_settle_forgotten(settled);
    RETURN cardinality(settled);
END
""",
    ),
    Function(
        "threadsync_retain",
        "drafts_days integer, letters_days integer, sessions_days integer, most integer",
        "TABLE (drafts integer, letters integer, sessions integer)",
        f"""
DECLARE
    old uuid[];
BEGIN
    -- Whose messages were on their way is forgotten, too.
    DELETE FROM forgotten_people WHERE forgotten_at < now() - interval '1 day';
    old := ARRAY(
        SELECT session_id FROM syncs
        WHERE state IN ('done', 'failed') AND updated_at < now() - make_interval(days => drafts_days)
          AND draft ->> 'summary' <> '(forgotten)'
        ORDER BY session_id LIMIT most FOR UPDATE SKIP LOCKED
    );
    drafts := cardinality(old);
    -- What failed is not tried again without its draft. A newer one begins anew.
    UPDATE syncs SET draft = threadsync_without_words(draft), drafted_at = {LATER},
        reason = CASE WHEN state = 'failed' THEN 'draft_expired' END
    WHERE session_id = ANY (old);
    {lines(clear_details_of("old"))}
    DELETE FROM dead_letters WHERE id IN (
        SELECT id FROM dead_letters
        WHERE coalesce(settled_at, died_at) < now() - make_interval(days => letters_days)
        LIMIT most FOR UPDATE SKIP LOCKED
    );
    GET DIAGNOSTICS letters = ROW_COUNT;
    DELETE FROM redeliveries WHERE last_attempt_at < now() - make_interval(days => letters_days);
    old := ARRAY(
        SELECT t.id FROM thread_sessions t
        WHERE t.forgotten_at IS NULL AND t.updated_at < now() - make_interval(days => sessions_days)
          AND NOT EXISTS (
              SELECT FROM syncs s WHERE s.session_id = t.id AND (
                  s.state NOT IN ('done', 'failed')
                  OR s.updated_at > now() - make_interval(days => sessions_days)
              )
          )
        ORDER BY t.id LIMIT most FOR UPDATE OF t SKIP LOCKED
    );
    sessions := cardinality(old);
    PERFORM threadsync_make_tombstones(old);
    RETURN NEXT;
END
""",
    ),
    Function(
        "threadsync_forget_moved",
        "",
        "trigger",
        # Two ids have become one channel: what was forgotten under the one is forgotten under the other.
        # Before their rows are put together: later it cannot be seen which context was changed when.
        f"""
DECLARE
    ids   text[] := ARRAY(SELECT channel_id FROM channel_aliases WHERE home_id = new.home_id)
                    || new.channel_id || new.home_id;
    since timestamptz := (SELECT max(forgotten_at) FROM forgotten_channels WHERE channel_id = ANY (ids));
BEGIN
    IF since IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO forgotten_channels (channel_id, forgotten_at) SELECT DISTINCT unnest(ids), since
    ON CONFLICT ON CONSTRAINT forgotten_channels_pkey DO UPDATE SET forgotten_at = since;
    UPDATE channel_context SET {cleared(of_kinds("channel_context", "words"))},
        version = version + 1, updated_at = now()
    WHERE channel_id = ANY (ids) AND updated_at < since AND context_data <> '{{}}';
    PERFORM threadsync_make_tombstones(ARRAY(
        SELECT id FROM thread_sessions
        WHERE channel_id = ANY (ids) AND forgotten_at IS NULL
          AND thread_ts::numeric < extract(epoch FROM since)
    ));
    RETURN NULL;
END
""",
        is_ours=True,
    ),
    Function(
        "threadsync_forget_alias",
        "",
        "trigger",
        # Two sessions of one thread have become one: what was forgotten of the one is forgotten of the other.
        """
BEGIN
    IF EXISTS (
        SELECT FROM thread_sessions WHERE id IN (new.id, new.alias_of) AND forgotten_at IS NOT NULL
    ) THEN
        PERFORM threadsync_make_tombstones(ARRAY[new.id, new.alias_of]);
    END IF;
    RETURN NULL;
END
""",
        is_ours=True,
    ),
)
