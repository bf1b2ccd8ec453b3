-- When the session was moved on. With created_at that is all of its history: a status only moves forward, once.
-- Null where it skipped the step, or took it before these columns were there.
ALTER TABLE thread_sessions ADD COLUMN ready_at timestamptz, ADD COLUMN synced_at timestamptz;

-- For counts over a stretch of time. BRIN: small, and an update of an indexed column stays a cheap one (HOT).
CREATE INDEX thread_sessions_created_at_idx ON thread_sessions USING brin (created_at);
CREATE INDEX thread_sessions_ready_at_idx ON thread_sessions USING brin (ready_at);
CREATE INDEX thread_sessions_synced_at_idx ON thread_sessions USING brin (synced_at);
CREATE INDEX sync_attempts_started_at_idx ON sync_attempts USING brin (started_at);

-- What waited in each queue, looked at now and then: a chart needs a past. Old rows are deleted.
CREATE TABLE queue_samples (
    queue          text             NOT NULL,
    sampled_at     timestamptz      NOT NULL DEFAULT now(),
    waiting        integer          NOT NULL,
    -- Null when nothing waited.
    oldest_seconds double precision,
    CONSTRAINT queue_samples_pkey PRIMARY KEY (queue, sampled_at),
    CONSTRAINT queue_samples_waiting_check CHECK (waiting >= 0)
);

-- For whoever looks for a ticket's session, and for the list of what people decided.
CREATE INDEX thread_sessions_jira_key_idx ON thread_sessions (jira_key) WHERE jira_key IS NOT NULL;
CREATE INDEX sync_actions_at_idx ON sync_actions (at, id);
CREATE INDEX dead_letters_settled_at_idx ON dead_letters (settled_at, id) WHERE state <> 'dead';
