-- Settings of channels: what a ticket was made with and where that came from, and the trail of who set what. The settings
-- themselves are the member `threadsync` of channel_context.

-- Of the last create: {"project_key", "project_from", "issue_type", "issue_type_from"}; from is draft, channel or settings.
ALTER TABLE syncs ADD COLUMN made_with jsonb;

-- Each act on a channel, of whichever way in: its settings were set or reset, its context was patched by somebody, or it
-- got another id. Names of the settings, none if all were reset, and no values.
CREATE TABLE channel_acts (
    id         uuid        NOT NULL DEFAULT uuidv7(),
    at         timestamptz NOT NULL DEFAULT now(),
    channel_id text        NOT NULL,
    act        text        NOT NULL,
    -- Null of a move, which has none.
    command_id uuid,
    settings   text[]      NOT NULL DEFAULT '{}',
    moved_to   text,
    -- As threadsync.actors has it; null of a command that names none.
    actor      jsonb,
    reason     text,
    -- The login of the database, and the way in: threadsync_sign.
    via        text,
    login      text,
    CONSTRAINT channel_acts_pkey PRIMARY KEY (id),
    CONSTRAINT channel_acts_act_check CHECK (act IN ('set', 'reset', 'patch', 'move')),
    CONSTRAINT channel_acts_channel_id_check CHECK (channel_id ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$')
);
CREATE INDEX channel_acts_at_idx ON channel_acts (at, id);
CREATE INDEX channel_acts_channel_idx ON channel_acts (channel_id, id);
CREATE TRIGGER channel_acts_sign BEFORE INSERT ON channel_acts
    FOR EACH ROW EXECUTE FUNCTION threadsync_sign('actor', 'via', 'login', 'at');

-- Few channels have settings of their own.
CREATE INDEX channel_context_settings_idx ON channel_context (channel_id) WHERE context_data ? 'threadsync';

-- Whether a channel's setting `who` lets a person of Slack act. What is no such setting, of any other shape, keeps nobody
-- out, as in threadsync.channel_settings.values; nor is a person kept out who was forgotten meanwhile, and whose message
-- may be the first request for a ticket. Whoever is named in it may act, so that only for others its shape is looked at.
CREATE FUNCTION threadsync_may_act(who jsonb, actor jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF actor ->> 'user_id' IS NULL OR actor ->> 'user_id' = 'forgotten' THEN
        RETURN true;
    ELSIF who = '"workspace"' THEN
        RETURN actor -> 'member' IS DISTINCT FROM 'false';
    ELSIF jsonb_typeof(who) IS DISTINCT FROM 'array' OR who ? (actor ->> 'user_id') THEN
        RETURN true;
    ELSIF jsonb_typeof(actor -> 'groups') = 'array' AND jsonb_array_length(actor -> 'groups') > 0
        AND who ?| ARRAY(SELECT jsonb_array_elements_text(actor -> 'groups')) THEN
        RETURN true;
    END IF;
    RETURN NOT (
        SELECT count(DISTINCT entry) BETWEEN 1 AND 100 AND bool_and(
            jsonb_typeof(entry) = 'string' AND entry #>> '{}' ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$'
        )
        FROM jsonb_array_elements(who) AS entry
    );
END
$$;
