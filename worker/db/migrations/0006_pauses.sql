-- An endpoint of a Jira that asked to be left alone for a while; others of the site go on.
CREATE TABLE jira_pauses (
    site         text        NOT NULL,
    endpoint     text        NOT NULL,
    paused_until timestamptz NOT NULL,
    CONSTRAINT jira_pauses_pkey PRIMARY KEY (site, endpoint)
);

-- What people decided about a session that was never asked for a ticket, and why.
CREATE TABLE session_actions (
    id         uuid        NOT NULL DEFAULT uuidv7(),
    session_id uuid        NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    action     text        NOT NULL,
    actor      text        NOT NULL,
    reason     text        NOT NULL,
    CONSTRAINT session_actions_pkey PRIMARY KEY (id),
    CONSTRAINT session_actions_session_id_fkey FOREIGN KEY (session_id) REFERENCES thread_sessions (id),
    CONSTRAINT session_actions_action_check CHECK (action IN ('link'))
);

CREATE INDEX session_actions_session_idx ON session_actions (session_id, id);
CREATE INDEX session_actions_at_idx ON session_actions (at, id);
