-- How often a message came back to a worker without having ended. First deliveries are not counted here.
CREATE TABLE redeliveries (
    task_id          text        NOT NULL,
    task_name        text        NOT NULL,
    deliveries       integer     NOT NULL,
    first_attempt_at timestamptz NOT NULL DEFAULT now(),
    last_attempt_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT redeliveries_pkey PRIMARY KEY (task_id)
);

-- Messages that will not be run again by themselves. `arguments` is text, not jsonb: it must hold what was
-- sent, and what was sent may be what Postgres refuses in jsonb (\u0000, NaN).
CREATE TABLE dead_letters (
    id               uuid        NOT NULL DEFAULT uuidv7(),
    task_id          text        NOT NULL,
    task_name        text        NOT NULL,
    queue            text        NOT NULL,
    arguments        text,
    body             bytea,
    error_type       text        NOT NULL,
    error            text        NOT NULL,
    attempts         integer     NOT NULL,
    first_attempt_at timestamptz,
    died_at          timestamptz NOT NULL DEFAULT now(),
    state            text        NOT NULL DEFAULT 'dead',
    settled_at       timestamptz,
    actor            text,
    reason           text,
    CONSTRAINT dead_letters_pkey PRIMARY KEY (id),
    CONSTRAINT dead_letters_task_id_key UNIQUE (task_id),
    CONSTRAINT dead_letters_content_check CHECK (arguments IS NOT NULL OR body IS NOT NULL),
    CONSTRAINT dead_letters_state_check CHECK (state IN ('dead', 'retried', 'discarded')),
    CONSTRAINT dead_letters_settled_check
        CHECK ((state = 'dead') = (settled_at IS NULL AND actor IS NULL AND reason IS NULL)),
    CONSTRAINT dead_letters_settled_whole_check
        CHECK (state = 'dead' OR (settled_at IS NOT NULL AND actor IS NOT NULL AND reason IS NOT NULL))
);

CREATE INDEX dead_letters_state_idx ON dead_letters (state, id DESC NULLS LAST);
