-- Who acts: an actor beside each thing that a command changed, as threadsync.actors has it. And the two acts of people on
-- a session's ticket, `link` and `unlink`, with the tickets that were taken off.
ALTER TABLE thread_sessions ADD COLUMN opened_by jsonb, ADD COLUMN ready_by jsonb, ADD COLUMN synced_by jsonb;
ALTER TABLE syncs ADD COLUMN drafted_by jsonb;
-- A retry whose command comes again, at whatever time, is noted already.
ALTER TABLE sync_actions ADD COLUMN acted_by jsonb, ADD COLUMN command_id uuid;
ALTER TABLE dead_letters ADD COLUMN settled_by jsonb;
ALTER TABLE installation_actions ADD COLUMN acted_by jsonb;
ALTER TABLE channel_context_commands ADD COLUMN applied_by jsonb;
ALTER TABLE channel_aliases ADD COLUMN moved_by jsonb;

-- When the session's ticket was last taken off, in seconds as Slack has them: of an older draft no ticket is made. And
-- the keys that were taken off: `mark_synced` of one of them changes nothing.
ALTER TABLE thread_sessions ADD COLUMN unlinked_at numeric(25, 9), ADD COLUMN left_keys text[] NOT NULL DEFAULT '{}';

-- Each act of a person, also one that changed nothing: carried out once, however often its command is delivered.
CREATE TABLE session_acts (
    command_id uuid        NOT NULL,
    session_id uuid        NOT NULL,
    id         uuid        NOT NULL DEFAULT uuidv7(),
    at         timestamptz NOT NULL DEFAULT now(),
    act        text        NOT NULL,
    jira_key   text        NOT NULL,
    jira_id    text,
    outcome    text        NOT NULL,
    -- The ticket that the session had.
    key_before text,
    actor      jsonb       NOT NULL,
    reason     text,
    CONSTRAINT session_acts_pkey PRIMARY KEY (command_id, session_id),
    CONSTRAINT session_acts_session_id_fkey FOREIGN KEY (session_id) REFERENCES thread_sessions (id),
    CONSTRAINT session_acts_act_check CHECK (act IN ('link', 'unlink')),
    CONSTRAINT session_acts_outcome_check CHECK (outcome IN ('applied', 'unchanged', 'stale', 'conflict')),
    CONSTRAINT session_acts_jira_key_check CHECK (jira_key ~ '^[A-Z][A-Z0-9_]{0,49}-[1-9][0-9]{0,12}$')
);
CREATE INDEX session_acts_session_idx ON session_acts (session_id, id);
CREATE INDEX session_acts_at_idx ON session_acts (at, id);

-- A ticket that was taken off its session. What follows in Jira: its link to the thread is removed, and it gets one
-- comment. `linked_again_at`: a person gave it back to the session.
CREATE TABLE left_tickets (
    session_id        uuid        NOT NULL,
    jira_key          text        NOT NULL,
    jira_id           text,
    site              text,
    -- Of session_acts; the comment says it, so that it can be found.
    act_id            uuid        NOT NULL,
    left_at           timestamptz NOT NULL DEFAULT now(),
    linked_again_at   timestamptz,
    fence             bigint      NOT NULL DEFAULT 0,
    lease_until       timestamptz,
    -- When there is something to do; null when it is over.
    next_attempt_at   timestamptz DEFAULT now(),
    queued_until      timestamptz,
    failures          integer     NOT NULL DEFAULT 0,
    link_removed_at   timestamptz,
    -- A comment was sent and has no clear answer; it may be made until then.
    comment_deadline  timestamptz,
    commented_at      timestamptz,
    -- Why it was given up, in a word, and Jira's own words.
    given_up          text,
    detail            text,
    CONSTRAINT left_tickets_pkey PRIMARY KEY (session_id, jira_key),
    CONSTRAINT left_tickets_session_id_fkey FOREIGN KEY (session_id) REFERENCES thread_sessions (id)
);
CREATE INDEX left_tickets_due_idx ON left_tickets (next_attempt_at) WHERE next_attempt_at IS NOT NULL;

-- Carries out an act on the session of a thread, in the order of arrival and once a command, also where the repetition
-- names another thread: a request that named none finds another one when it is sent again. Returns the session as the act
-- left it, and for a repeated one the outcome of the first; `key_before` is the ticket that it met. No row: there is no
-- session.
CREATE FUNCTION threadsync_act(
    new_act text, in_channel text, in_thread text, key text, issue_id text, command uuid, by_whom jsonb, because text,
    asked_at numeric
) RETURNS TABLE (session thread_sessions, outcome text, key_before text)
LANGUAGE plpgsql AS $$
DECLARE
    s       thread_sessions;
    before  session_acts;
    -- The session of `before`, as it is known now.
    acted   uuid;
    decided text;
    new_id  uuid := uuidv7();
BEGIN
    -- First of all, as every command does: what follows sees what others have written until then.
    SELECT * INTO s FROM thread_sessions t WHERE t.channel_id = in_channel AND t.thread_ts = in_thread FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT a.* INTO before FROM session_acts a WHERE a.command_id = command ORDER BY a.id LIMIT 1;
    IF FOUND THEN
        SELECT coalesce(t.alias_of, t.id) INTO acted FROM thread_sessions t WHERE t.id = before.session_id;
        decided := CASE
            WHEN acted <> s.id THEN 'stale'
            WHEN before.outcome NOT IN ('applied', 'unchanged') THEN before.outcome
            WHEN s.jira_key IS NOT DISTINCT FROM CASE before.act WHEN 'link' THEN before.jira_key END THEN 'unchanged'
            ELSE 'stale' END;
        RETURN QUERY SELECT s, decided, before.key_before;
        RETURN;
    END IF;
    -- A tombstone: nothing is written of it.
    IF s.forgotten_at IS NOT NULL THEN
        RETURN QUERY SELECT s, 'stale', s.jira_key;
        RETURN;
    END IF;
    decided := CASE
        WHEN new_act = 'unlink' THEN CASE WHEN s.jira_key = key THEN 'applied' ELSE 'stale' END
        WHEN s.jira_key IS NULL THEN 'applied'
        WHEN s.jira_key = key THEN 'unchanged'
        ELSE 'conflict' END;
    INSERT INTO session_acts AS a (id, command_id, session_id, act, jira_key, jira_id, outcome, key_before, actor, reason)
    VALUES (new_id, command, s.id, new_act, key, issue_id, decided, s.jira_key, by_whom, because)
    -- As it was signed, so that the session says the same as the record.
    RETURNING a.actor INTO by_whom;
    key_before := s.jira_key;
    IF decided = 'applied' AND new_act = 'link' THEN
        s := threadsync_link(s.id, key, issue_id, by_whom);
    ELSIF decided = 'applied' THEN
        s := threadsync_unlink(s.id, key, new_id, asked_at);
    END IF;
    RETURN QUERY SELECT s, decided, key_before;
END
$$;

-- Gives a locked session its ticket. A sync that is open needs none any more; one that may have made one is still
-- looked after.
CREATE FUNCTION threadsync_link(session uuid, key text, issue_id text, by_whom jsonb) RETURNS thread_sessions
LANGUAGE plpgsql AS $$
DECLARE
    s thread_sessions;
BEGIN
    UPDATE thread_sessions t
    SET status = 'synced', jira_key = key, synced_at = now(), synced_by = by_whom, updated_at = now(),
        left_keys = array_remove(t.left_keys, key)
    WHERE t.id = session
    RETURNING t.* INTO s;
    UPDATE left_tickets l
    SET linked_again_at = now(), next_attempt_at = NULL, queued_until = NULL, lease_until = NULL, fence = l.fence + 1
    WHERE l.session_id = session AND l.jira_key = key AND l.linked_again_at IS NULL;
    UPDATE syncs y
    SET state = 'done', jira_key = key, jira_id = issue_id, origin = 'named', done_at = now(), next_attempt_at = now(),
        reason = NULL, detail = NULL, parked = false, lease_until = NULL, queued_until = NULL,
        fence = y.fence + 1, announce_at = now(), updated_at = now()
    WHERE y.session_id = session AND y.state NOT IN ('inflight', 'unknown', 'done');
    RETURN s;
END
$$;

-- Takes the ticket off a locked session. A create in doubt stays in doubt; all else ends, and the last draft stays, so
-- that only a later one makes another ticket.
CREATE FUNCTION threadsync_unlink(session uuid, key text, act uuid, asked_at numeric) RETURNS thread_sessions
LANGUAGE plpgsql AS $$
DECLARE
    s        thread_sessions;
    asked    syncs;
    moment   numeric := extract(epoch FROM now());
    known_id text;
BEGIN
    SELECT * INTO asked FROM syncs y WHERE y.session_id = session FOR UPDATE;
    known_id := coalesce(
        CASE WHEN asked.jira_key = key THEN asked.jira_id END,
        (SELECT a.jira_id FROM session_acts a
         WHERE a.session_id = session AND a.jira_key = key AND a.jira_id IS NOT NULL ORDER BY a.id DESC LIMIT 1)
    );
    UPDATE thread_sessions t
    SET status = 'collecting', jira_key = NULL, updated_at = now(),
        -- The last draft is from before, whatever clock it was dated by; one of a year to come counts for nothing.
        unlinked_at = greatest(
            t.unlinked_at, coalesce(asked_at, moment),
            CASE WHEN asked.drafted_at <= moment + 172800 THEN asked.drafted_at END
        ),
        left_keys = array_append(array_remove(t.left_keys, key), key)
    WHERE t.id = session
    RETURNING t.* INTO s;
    INSERT INTO left_tickets AS l (session_id, jira_key, jira_id, site, act_id, next_attempt_at)
    -- Who links it to the thread just now is done by the end of its lease.
    VALUES (session, key, known_id, asked.site, act, greatest(now(), asked.lease_until))
    ON CONFLICT ON CONSTRAINT left_tickets_pkey DO UPDATE
    SET jira_id = coalesce(excluded.jira_id, l.jira_id), site = coalesce(excluded.site, l.site), act_id = excluded.act_id,
        left_at = now(), linked_again_at = NULL, fence = l.fence + 1, lease_until = NULL,
        next_attempt_at = excluded.next_attempt_at, queued_until = NULL, failures = 0, link_removed_at = NULL,
        comment_deadline = NULL, commented_at = NULL, given_up = NULL, detail = NULL;
    UPDATE syncs y
    SET state = 'failed', reason = 'unlinked', detail = NULL, parked = false, next_attempt_at = NULL, queued_until = NULL,
        lease_until = NULL, turn_until = NULL, unfinished_claims = 0, fence = y.fence + 1, jira_id = NULL, jira_key = NULL,
        origin = NULL, done_at = NULL, linked_back_at = NULL, audited_at = NULL,
        -- Of two tickets the other one is still there.
        duplicates = array_remove(
            CASE WHEN y.jira_key <> key AND y.jira_key <> ALL (y.duplicates) THEN y.duplicates || y.jira_key
                 ELSE y.duplicates END, key
        ),
        announce_at = now(), updated_at = now()
    WHERE y.session_id = session AND y.state NOT IN ('inflight', 'unknown');
    -- Who looks for a ticket at the moment may have seen this one.
    UPDATE syncs y
    SET jira_id = NULL, jira_key = NULL, next_attempt_at = now(), queued_until = NULL, lease_until = NULL,
        fence = y.fence + 1, announce_at = now(), updated_at = now()
    WHERE y.session_id = session AND y.state = 'unknown';
    UPDATE syncs y SET announce_at = now(), updated_at = now() WHERE y.session_id = session AND y.state = 'inflight';
    RETURN s;
END
$$;

-- `threadsync_channel_moved` for an actor. What was taken off a session that is an alias now was taken off its thread.
CREATE FUNCTION threadsync_channel_moved(old_id text, new_id text, by_whom jsonb)
RETURNS TABLE (home_id text, newest_id text, sessions integer, outcome text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    moved record;
BEGIN
    SELECT * INTO STRICT moved FROM threadsync_channel_moved(old_id, new_id);
    IF moved.outcome = 'applied' THEN
        UPDATE channel_aliases a SET moved_by = by_whom WHERE a.channel_id = old_id;
        UPDATE thread_sessions w
        SET left_keys = ARRAY(SELECT DISTINCT unnest(w.left_keys || o.left_keys)),
            unlinked_at = greatest(w.unlinked_at, o.unlinked_at)
        FROM thread_sessions o
        WHERE o.alias_of = w.id AND o.unlinked_at IS NOT NULL
          AND o.channel_id IN (SELECT a.channel_id FROM channel_aliases a WHERE a.home_id = moved.home_id);
    END IF;
    RETURN QUERY SELECT moved.home_id, moved.newest_id, moved.sessions, moved.outcome;
END
$$;
