-- Which installation this is: one row, made here. The broker has the same id, so that a worker that was pointed at
-- the broker of another installation finds out before it takes a message.
CREATE TABLE installation (
    only_one boolean     NOT NULL DEFAULT true,
    id       uuid        NOT NULL DEFAULT gen_random_uuid(),
    since    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT installation_pkey PRIMARY KEY (only_one),
    CONSTRAINT installation_only_one_check CHECK (only_one)
);
INSERT INTO installation DEFAULT VALUES;

-- What people decided about it: `adopt` took over the broker of `other`, `renew` gave it a new id in place of `other`.
CREATE TABLE installation_actions (
    id           uuid        NOT NULL DEFAULT uuidv7(),
    at           timestamptz NOT NULL DEFAULT now(),
    action       text        NOT NULL,
    actor        text        NOT NULL,
    reason       text        NOT NULL,
    installation uuid        NOT NULL,
    other        text,
    CONSTRAINT installation_actions_pkey PRIMARY KEY (id),
    CONSTRAINT installation_actions_action_check CHECK (action IN ('adopt', 'renew'))
);
CREATE INDEX installation_actions_at_idx ON installation_actions (at, id);
