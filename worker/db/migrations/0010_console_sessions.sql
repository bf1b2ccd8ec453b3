-- Sessions of people signed in to the console. The cookie is a random word; here is only its hash, from which it cannot be found.
-- Signing out deletes the row; one that has run out is deleted by the next sign-in and by the maintenance task.
CREATE TABLE console_sessions (
    id_hash     bytea       CONSTRAINT console_sessions_pkey PRIMARY KEY,
    name        text        NOT NULL,
    -- Where the sign-in came from, as the web process saw it; a proxy that is not trusted hides it.
    address     text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    CONSTRAINT console_sessions_id_hash_check CHECK (octet_length(id_hash) = 32),
    CONSTRAINT console_sessions_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT console_sessions_address_check CHECK (char_length(address) <= 100),
    CONSTRAINT console_sessions_expires_at_check
        CHECK (expires_at > created_at AND expires_at <= created_at + interval '12 hours')
);

CREATE INDEX console_sessions_expires_at_idx ON console_sessions (expires_at);
