-- What follows a ticket, a row for each step, keyed by session and ticket, so that linked tickets have steps, too. Nothing of
-- the thread is kept in it, and of Jira's responses only the status and the names of fields.
CREATE TABLE ticket_steps (
    session_id      uuid        NOT NULL,
    -- The ticket's id in Jira; its key where only that is known.
    jira_id         text        NOT NULL,
    -- `link`: the thread's permalink; `plan`: which of the following; `file`: one file; `attachment`; `thread`: the comment.
    step            text        NOT NULL,
    -- Slack's id of the file; empty for other steps.
    file_id         text        NOT NULL DEFAULT '',
    jira_key        text        NOT NULL,
    site            text,
    -- What of the thread goes to the ticket, by the settings of the moment in which that was decided.
    include         text,
    -- From when on a day is counted.
    begun_at        timestamptz NOT NULL DEFAULT now(),
    fence           bigint      NOT NULL DEFAULT 0,
    lease_until     timestamptz,
    -- When there is something to do; null when it is over.
    next_attempt_at timestamptz DEFAULT now(),
    -- A message for the row is in the broker, or was lost there: not another one before then.
    queued_until    timestamptz,
    failures        integer     NOT NULL DEFAULT 0,
    -- A write was sent and has no clear response; it may be made until then.
    write_deadline  timestamptz,
    done_at         timestamptz,
    -- Why it was given up, in a word of ours.
    given_up        text,
    http_status     integer,
    fields          text[]      NOT NULL DEFAULT '{}',
    CONSTRAINT ticket_steps_pkey PRIMARY KEY (session_id, jira_id, step, file_id),
    CONSTRAINT ticket_steps_session_id_fkey FOREIGN KEY (session_id) REFERENCES thread_sessions (id),
    CONSTRAINT ticket_steps_step_check CHECK (step IN ('link', 'plan', 'file', 'attachment', 'thread')),
    CONSTRAINT ticket_steps_file_check CHECK ((step = 'file') = (file_id <> '')),
    -- A link that was put is put once more when no earlier one can come to light any more.
    CONSTRAINT ticket_steps_over_check CHECK (
        next_attempt_at IS NULL OR (given_up IS NULL AND (done_at IS NULL OR step = 'link'))
    ),
    CONSTRAINT ticket_steps_include_check CHECK (include IN ('link', 'text', 'files')),
    CONSTRAINT ticket_steps_fields_check CHECK (cardinality(fields) <= 10)
);
CREATE INDEX ticket_steps_due_idx ON ticket_steps (next_attempt_at) WHERE next_attempt_at IS NOT NULL;

-- Begins the steps of a ticket; of one that was unlinked and is linked again, the link anew.
CREATE FUNCTION threadsync_begin_steps(
    session uuid, issue text, key text, at_site text, first_steps text[], not_before timestamptz
) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO ticket_steps AS s (session_id, jira_id, step, jira_key, site, next_attempt_at)
    SELECT session, issue, step, key, at_site, greatest(now(), not_before) FROM unnest(first_steps) AS step
    ON CONFLICT ON CONSTRAINT ticket_steps_pkey DO UPDATE
    SET jira_key = excluded.jira_key, site = excluded.site, begun_at = now(), fence = s.fence + 1, lease_until = NULL,
        next_attempt_at = excluded.next_attempt_at, queued_until = NULL, failures = 0, write_deadline = NULL,
        done_at = NULL, given_up = NULL, http_status = NULL, fields = '{}'
    -- What was written stays written; only the link is taken away by an unlink.
    WHERE s.step = 'link' OR s.given_up = 'unlinked'
$$;

-- A ticket that was made here, or found by its marker, has all steps.
CREATE FUNCTION threadsync_steps_of_sync() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM threadsync_begin_steps(NEW.session_id, NEW.jira_id, NEW.jira_key, NEW.site, ARRAY['link', 'plan'], NULL);
    RETURN NULL;
END
$$;
CREATE TRIGGER syncs_begin_steps AFTER UPDATE OF state ON syncs FOR EACH ROW
    WHEN (NEW.state = 'done' AND OLD.state <> 'done' AND NEW.origin IN ('created', 'found') AND NEW.jira_id IS NOT NULL
          AND NEW.forgetting IS NULL)
    EXECUTE FUNCTION threadsync_steps_of_sync();

-- One that a person linked has the permalink alone. If it was unlinked before, the permalink is put there only after the
-- lease of the process that may be removing the former link.
CREATE FUNCTION threadsync_steps_of_act() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    busy_until timestamptz;
BEGIN
    SELECT l.lease_until INTO busy_until FROM left_tickets l
    WHERE l.session_id = NEW.session_id AND l.jira_key = NEW.jira_key AND l.linked_again_at IS NULL;
    PERFORM threadsync_begin_steps(
        NEW.session_id, coalesce(NEW.jira_id, NEW.jira_key), NEW.jira_key, NULL, ARRAY['link'], busy_until
    );
    RETURN NULL;
END
$$;
CREATE TRIGGER session_acts_begin_steps AFTER INSERT ON session_acts FOR EACH ROW
    WHEN (NEW.act = 'link' AND NEW.outcome = 'applied')
    EXECUTE FUNCTION threadsync_steps_of_act();

-- The steps of a ticket that is unlinked end. Its link is removed only after the lease of the step that may be making it.
CREATE FUNCTION threadsync_end_steps() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    busy_until timestamptz;
BEGIN
    SELECT max(s.lease_until) INTO busy_until FROM ticket_steps s
    WHERE s.session_id = NEW.session_id AND s.jira_key = NEW.jira_key AND s.step = 'link' AND s.next_attempt_at IS NOT NULL;
    UPDATE ticket_steps s
    SET given_up = 'unlinked', next_attempt_at = NULL, queued_until = NULL, lease_until = NULL, fence = s.fence + 1
    WHERE s.session_id = NEW.session_id AND s.jira_key = NEW.jira_key AND s.next_attempt_at IS NOT NULL;
    NEW.next_attempt_at := greatest(NEW.next_attempt_at, busy_until);
    RETURN NEW;
END
$$;
CREATE TRIGGER left_tickets_end_steps BEFORE INSERT OR UPDATE OF act_id ON left_tickets FOR EACH ROW
    EXECUTE FUNCTION threadsync_end_steps();
