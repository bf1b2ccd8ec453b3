-- What stands in the way of everything that is to be said in Slack: a token that Slack refuses. While `trouble`
-- is set, messages wait, and only a probe is sent. One row at most: an installation has one token.
CREATE TABLE slack_installation (
    id            boolean          NOT NULL DEFAULT true,
    trouble       text,
    trouble_since timestamptz,
    next_probe_at timestamptz,
    -- Between two probes. It grows when Slack knows the token and then refuses a message all the same.
    probe_seconds double precision NOT NULL DEFAULT 0,
    good_since    timestamptz,
    CONSTRAINT slack_installation_pkey PRIMARY KEY (id),
    CONSTRAINT slack_installation_one_check CHECK (id),
    CONSTRAINT slack_installation_trouble_check
        CHECK ((trouble IS NULL) = (trouble_since IS NULL) AND (trouble IS NULL) = (next_probe_at IS NULL))
);

-- `trouble` is Slack's name for why the message does not say what is true; null when it does, or was not refused.
-- Up to `replaced_ts` messages cannot be edited: what is found there is not ours to keep up to date any more.
ALTER TABLE status_messages
    ADD COLUMN trouble text,
    ADD COLUMN refusals integer NOT NULL DEFAULT 0,
    ADD COLUMN replaced_ts text;
CREATE INDEX status_messages_trouble_idx ON status_messages (session_id) WHERE trouble IS NOT NULL;
