-- One row a Slack thread. The constraints hold what threadsync.models promises.
CREATE TABLE thread_sessions (
    id         uuid        NOT NULL DEFAULT uuidv7(),
    channel_id text        NOT NULL,
    thread_ts  text        NOT NULL,
    user_id    text        NOT NULL,
    status     text        NOT NULL DEFAULT 'collecting',
    jira_key   text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT thread_sessions_pkey PRIMARY KEY (id),
    CONSTRAINT thread_sessions_thread_key UNIQUE (channel_id, thread_ts),
    CONSTRAINT thread_sessions_status_check CHECK (status IN ('collecting', 'ready_to_sync', 'synced')),
    CONSTRAINT thread_sessions_synced_has_key_check CHECK ((status = 'synced') = (jira_key IS NOT NULL)),
    CONSTRAINT thread_sessions_channel_id_check CHECK (channel_id ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$'),
    CONSTRAINT thread_sessions_thread_ts_check CHECK (thread_ts ~ '^[0-9]{1,16}\.[0-9]{1,9}$'),
    CONSTRAINT thread_sessions_user_id_check CHECK (user_id ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$'),
    CONSTRAINT thread_sessions_jira_key_check CHECK (jira_key ~ '^[A-Z][A-Z0-9_]{0,49}-[1-9][0-9]{0,12}$')
);

-- Pages, newest first; a UUID v7 sorts by time. Why NULLS LAST: LIST_SESSIONS_BY_CHANNEL in queries.py.
CREATE INDEX thread_sessions_channel_idx ON thread_sessions (channel_id, id DESC NULLS LAST);
CREATE INDEX thread_sessions_channel_status_idx ON thread_sessions (channel_id, status, id DESC NULLS LAST);
CREATE INDEX thread_sessions_status_idx ON thread_sessions (status, id DESC NULLS LAST);

-- What is known about a channel, changed by RFC 7396 merge patches.
CREATE TABLE channel_context (
    channel_id   text        NOT NULL,
    context_data jsonb       NOT NULL DEFAULT '{}',
    version      integer     NOT NULL DEFAULT 1,
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT channel_context_pkey PRIMARY KEY (channel_id),
    CONSTRAINT channel_context_channel_id_check CHECK (channel_id ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$'),
    CONSTRAINT channel_context_object_check CHECK (jsonb_typeof(context_data) = 'object'),
    CONSTRAINT channel_context_size_check CHECK (octet_length(context_data::text) <= 1048576),
    CONSTRAINT channel_context_version_check CHECK (version > 0)
);

-- Which patches a channel has seen: the same command twice applies once.
CREATE TABLE channel_context_commands (
    channel_id text        NOT NULL,
    command_id uuid        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT channel_context_commands_pkey PRIMARY KEY (channel_id, command_id)
);

-- RFC 7396: objects merge key by key, null removes a key, anything else replaces.
CREATE FUNCTION threadsync_merge_patch(target jsonb, patch jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF jsonb_typeof(patch) <> 'object' THEN
        RETURN patch;
    END IF;
    IF target IS NULL OR jsonb_typeof(target) <> 'object' THEN
        target := '{}';
    END IF;
    RETURN (
        SELECT coalesce(jsonb_object_agg(
                   coalesce(t.key, p.key),
                   CASE WHEN p.key IS NULL THEN t.value ELSE threadsync_merge_patch(t.value, p.value) END
               ), '{}')
        FROM jsonb_each(target) AS t
        FULL JOIN jsonb_each(patch) AS p ON p.key = t.key
        WHERE p.key IS NULL OR jsonb_typeof(p.value) <> 'null'
    );
END
$$;
