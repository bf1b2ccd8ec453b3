-- What is forgotten. A session with `forgotten_at` is its own tombstone: its id, thread, key and marker stay, so that
-- a late event or a replay makes no second ticket. `drafts_since`: a draft of before then is taken without its words.
ALTER TABLE thread_sessions
    ADD COLUMN forgotten_at timestamptz,
    ADD COLUMN drafts_since numeric(25, 9);

-- What is left to do for a sync that was in doubt when it was to be forgotten: `tombstone` or `words`.
ALTER TABLE syncs ADD COLUMN forgetting text;
CREATE INDEX syncs_forgetting_idx ON syncs (session_id) WHERE forgetting IS NOT NULL;

-- Every act of forgetting, and nothing of what was forgotten: `subject` is a thread or a channel, null of a person.
CREATE TABLE forget_acts (
    id      uuid        NOT NULL DEFAULT uuidv7(),
    at      timestamptz NOT NULL DEFAULT now(),
    what    text        NOT NULL,
    subject text,
    actor   text        NOT NULL,
    reason  text        NOT NULL,
    -- The actor, as threadsync.actors has it.
    acted_by jsonb,
    CONSTRAINT forget_acts_pkey PRIMARY KEY (id),
    CONSTRAINT forget_acts_what_check CHECK (what IN ('thread', 'channel', 'user')),
    -- Readers see it, and it is never forgotten: a channel, or a thread in it, and no words.
    CONSTRAINT forget_acts_subject_check CHECK (
        subject IS NULL
        OR what <> 'user' AND subject ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}( / [0-9]{1,16}[.][0-9]{1,9})?$'
    )
);
CREATE INDEX forget_acts_at_idx ON forget_acts (at, id);

-- Threads of such a channel that began before `forgotten_at` are tombstones from their first row on.
CREATE TABLE forgotten_channels (
    channel_id   text        NOT NULL,
    forgotten_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT forgotten_channels_pkey PRIMARY KEY (channel_id)
);

-- People whose messages may still be on their way: sha256(key, sha256(key, id)) each, with a key of its own, and of how
-- many letters the id is, so that it is found in others' words. A day later the row is deleted, the key with it, and
-- then nothing here says whose it was.
CREATE TABLE forgotten_people (
    id           uuid        NOT NULL DEFAULT uuidv7(),
    key          bytea       NOT NULL,
    hash         bytea       NOT NULL,
    letters      integer     NOT NULL,
    forgotten_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT forgotten_people_pkey PRIMARY KEY (id)
);

CREATE FUNCTION threadsync_person_hash(key bytea, person text) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT sha256(key || sha256(key || convert_to(upper(person COLLATE "C"), 'UTF8')))
$$;

-- Whether words about this channel and thread, or this session, are not to be kept any more. Of a channel that was
-- forgotten: of threads that began before then for good, of what names no such thread for a day.
CREATE FUNCTION threadsync_is_forgotten(channel text, thread text, session uuid) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
    home text := coalesce((SELECT home_id FROM channel_aliases WHERE channel_id = channel), channel);
    a_day_ago numeric := extract(epoch FROM now() - interval '1 day');
BEGIN
    RETURN EXISTS (
        SELECT FROM thread_sessions
        WHERE id = session AND (forgotten_at IS NOT NULL OR drafts_since > a_day_ago)
    ) OR EXISTS (
        SELECT FROM thread_sessions
        WHERE channel_id = home AND thread_ts = thread AND (forgotten_at IS NOT NULL OR drafts_since > a_day_ago)
    ) OR EXISTS (
        SELECT FROM forgotten_channels
        WHERE channel_id = home AND (
            forgotten_at > now() - interval '1 day'
            OR CASE WHEN thread ~ '^[0-9]{1,16}\.[0-9]{1,9}$' THEN thread::numeric < extract(epoch FROM forgotten_at) END
        )
    );
END
$$;

-- The tombstone of a thread that has no session and began before its channel was forgotten; no row of any other. Which
-- command comes first makes no difference. `channel`: the one that has the channel's rows.
CREATE FUNCTION threadsync_tombstone(channel text, thread text) RETURNS SETOF thread_sessions
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM forgotten_channels c
        WHERE c.channel_id = channel AND thread::numeric < extract(epoch FROM c.forgotten_at)
    ) THEN
        INSERT INTO thread_sessions (channel_id, thread_ts, user_id, forgotten_at)
        VALUES (channel, thread, 'forgotten', now())
        ON CONFLICT ON CONSTRAINT thread_sessions_thread_key DO NOTHING;
        RETURN QUERY SELECT * FROM thread_sessions t
        WHERE t.channel_id = channel AND t.thread_ts = thread AND t.forgotten_at IS NOT NULL;
    END IF;
END
$$;

-- In place of a draft: where the ticket is to be made, and no word.
CREATE FUNCTION threadsync_without_words(draft jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT '{"summary": "(forgotten)"}'::jsonb
        || CASE WHEN draft ->> 'project_key' ~ '^[A-Z][A-Z0-9_]{0,49}$'
                THEN jsonb_build_object('project_key', draft -> 'project_key') ELSE '{}' END
$$;

-- The value without what the pattern finds, keys too: a name such as `null` must not be taken out of JSON's own words.
CREATE FUNCTION threadsync_without_pattern(value jsonb, pattern text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    CASE jsonb_typeof(value)
    WHEN 'string' THEN
        RETURN to_jsonb(regexp_replace(value #>> '{}', pattern, 'forgotten', 'gi'));
    WHEN 'array' THEN
        RETURN coalesce((
            SELECT jsonb_agg(threadsync_without_pattern(e.item, pattern) ORDER BY e.place)
            FROM jsonb_array_elements(value) WITH ORDINALITY AS e (item, place)
        ), '[]');
    WHEN 'object' THEN
        RETURN coalesce((
            SELECT jsonb_object_agg(regexp_replace(e.key, pattern, 'forgotten', 'gi'),
                                    threadsync_without_pattern(e.value, pattern))
            FROM jsonb_each(value) AS e
        ), '{}');
    ELSE
        RETURN value;
    END CASE;
END
$$;
