-- What is known of a Jira site. While `trouble` is set, its syncs are parked and only a probe is sent there.
CREATE TABLE jira_sites (
    site          text        NOT NULL,
    trouble       text,
    trouble_since timestamptz,
    next_probe_at timestamptz,
    paused_until  timestamptz,
    CONSTRAINT jira_sites_pkey PRIMARY KEY (site),
    CONSTRAINT jira_sites_trouble_check
        CHECK ((trouble IS NULL) = (trouble_since IS NULL) AND (trouble IS NULL) = (next_probe_at IS NULL))
);

-- One row a session that was asked for a ticket: docs/sync-state-machine.md.
CREATE TABLE syncs (
    session_id        uuid           NOT NULL,
    draft             jsonb          NOT NULL,
    drafted_at        numeric(25, 9) NOT NULL,
    state             text           NOT NULL DEFAULT 'pending',
    reason            text,
    detail            text,
    -- Blocked because of the whole site, so goes on when the site does.
    parked            boolean        NOT NULL DEFAULT false,
    site              text,
    marker            text,
    project_key       text,
    -- Whoever claims the row counts `fence` up; a write of an earlier claim finds another number and does nothing.
    fence             bigint         NOT NULL DEFAULT 0,
    lease_until       timestamptz,
    -- When there is something to do; null when nothing happens by itself.
    next_attempt_at   timestamptz    DEFAULT now(),
    -- A message for the row is in the broker, or was lost there: not another one before then.
    queued_until      timestamptz,
    -- A create in flight keeps its project's turn until then.
    turn_until        timestamptz,
    unfinished_claims integer        NOT NULL DEFAULT 0,
    failures          integer        NOT NULL DEFAULT 0,
    failing_since     timestamptz,
    looks             integer        NOT NULL DEFAULT 0,
    absences          integer        NOT NULL DEFAULT 0,
    recreates         integer        NOT NULL DEFAULT 0,
    jira_id           text,
    jira_key          text,
    -- How the ticket came to be the session's: created here, found by its marker, or named by somebody.
    origin            text,
    done_at           timestamptz,
    -- When the link back to the thread was over: made, or given up; sync_attempts says which.
    linked_back_at    timestamptz,
    audited_at        timestamptz,
    duplicates        text[]         NOT NULL DEFAULT '{}',
    -- What people see of it in Slack is out of date since then.
    announce_at       timestamptz    DEFAULT now(),
    requested_at      timestamptz    NOT NULL DEFAULT now(),
    updated_at        timestamptz    NOT NULL DEFAULT now(),
    CONSTRAINT syncs_pkey PRIMARY KEY (session_id),
    CONSTRAINT syncs_session_id_fkey FOREIGN KEY (session_id) REFERENCES thread_sessions (id),
    CONSTRAINT syncs_marker_key UNIQUE (marker),
    CONSTRAINT syncs_draft_check CHECK (jsonb_typeof(draft) = 'object' AND draft ? 'summary'),
    CONSTRAINT syncs_state_check CHECK (state IN
        ('pending', 'inflight', 'retry_wait', 'unknown', 'blocked', 'failed', 'review', 'done')),
    CONSTRAINT syncs_reason_check CHECK (state NOT IN ('retry_wait', 'unknown', 'blocked', 'failed', 'review')
        OR reason IS NOT NULL),
    CONSTRAINT syncs_parked_check CHECK (NOT parked OR state = 'blocked'),
    CONSTRAINT syncs_marker_check CHECK (marker ~ '^slk-[a-z2-7]{26}$'),
    CONSTRAINT syncs_inflight_check CHECK (state <> 'inflight'
        OR (marker IS NOT NULL AND project_key IS NOT NULL AND next_attempt_at IS NOT NULL)),
    CONSTRAINT syncs_done_check CHECK (state <> 'done'
        OR (jira_key IS NOT NULL AND origin IS NOT NULL AND done_at IS NOT NULL)),
    CONSTRAINT syncs_origin_check CHECK (origin IN ('created', 'found', 'named')),
    CONSTRAINT syncs_jira_key_check CHECK (jira_key ~ '^[A-Z][A-Z0-9_]{0,49}-[1-9][0-9]{0,12}$')
);

CREATE INDEX syncs_due_idx ON syncs (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX syncs_queued_idx ON syncs (queued_until) WHERE queued_until IS NOT NULL;
CREATE INDEX syncs_announce_idx ON syncs (announce_at) WHERE announce_at IS NOT NULL;
CREATE INDEX syncs_inflight_idx ON syncs (site, project_key) WHERE state = 'inflight';
CREATE INDEX syncs_state_idx ON syncs (state, session_id DESC NULLS LAST);

-- What was tried for a sync, kept. A create without an outcome is in flight, or its process died. `unknown` is
-- one that may have made a ticket; `absent` one that was shown not to have.
CREATE TABLE sync_attempts (
    session_id  uuid           NOT NULL,
    number      integer        NOT NULL,
    step        text           NOT NULL,
    fence       bigint         NOT NULL,
    started_at  timestamptz    NOT NULL,
    deadline    timestamptz,
    finished_at timestamptz,
    outcome     text,
    http_status integer,
    trace_id    text,
    reason      text,
    detail      text,
    project_key text,
    -- The highest number of the project's issues that was known before the create.
    baseline    bigint,
    drafted_at  numeric(25, 9),
    CONSTRAINT sync_attempts_pkey PRIMARY KEY (session_id, number),
    CONSTRAINT sync_attempts_session_id_fkey FOREIGN KEY (session_id) REFERENCES syncs (session_id),
    CONSTRAINT sync_attempts_step_check CHECK (step IN ('search', 'create', 'look', 'link_back', 'audit')),
    CONSTRAINT sync_attempts_create_check CHECK (step <> 'create'
        OR (deadline IS NOT NULL AND project_key IS NOT NULL AND baseline IS NOT NULL)),
    CONSTRAINT sync_attempts_outcome_check CHECK (outcome IN ('created', 'found', 'several', 'absent', 'unclear',
        'rejected', 'throttled', 'auth', 'not_sent', 'unknown', 'ok')),
    CONSTRAINT sync_attempts_finished_check CHECK ((outcome IS NULL) = (finished_at IS NULL))
);

CREATE INDEX sync_attempts_doubt_idx ON sync_attempts (session_id)
    WHERE step = 'create' AND (outcome IS NULL OR outcome = 'unknown');

-- What people decided about a sync, and why.
CREATE TABLE sync_actions (
    id         uuid        NOT NULL DEFAULT uuidv7(),
    session_id uuid        NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    action     text        NOT NULL,
    actor      text        NOT NULL,
    reason     text        NOT NULL,
    CONSTRAINT sync_actions_pkey PRIMARY KEY (id),
    CONSTRAINT sync_actions_session_id_fkey FOREIGN KEY (session_id) REFERENCES syncs (session_id),
    CONSTRAINT sync_actions_action_check CHECK (action IN ('retry', 'link', 'give_up'))
);

CREATE INDEX sync_actions_session_idx ON sync_actions (session_id, id);

-- The one message in the thread that says how its sync stands. `post_begun_at` without `message_ts`: it was
-- asked for, and nobody knows whether it is there.
CREATE TABLE status_messages (
    session_id    uuid        NOT NULL,
    message_ts    text,
    post_begun_at timestamptz,
    shown         text,
    fence         bigint      NOT NULL DEFAULT 0,
    lease_until   timestamptz,
    failures      integer     NOT NULL DEFAULT 0,
    CONSTRAINT status_messages_pkey PRIMARY KEY (session_id),
    CONSTRAINT status_messages_session_id_fkey FOREIGN KEY (session_id) REFERENCES syncs (session_id)
);
