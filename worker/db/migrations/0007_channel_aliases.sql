-- The ids of channels that have had several: Slack gives a channel another one when it is converted or shared. The
-- sessions and the context of all of them stand under `home_id`; calls to Slack go to `newest_id`.
CREATE TABLE channel_aliases (
    channel_id text        NOT NULL,
    home_id    text        NOT NULL,
    newest_id  text        NOT NULL,
    -- The id that took this one's place, as far as is known.
    moved_to   text,
    moved_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT channel_aliases_pkey PRIMARY KEY (channel_id),
    CONSTRAINT channel_aliases_channel_id_check CHECK (channel_id ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$')
);
CREATE INDEX channel_aliases_home_idx ON channel_aliases (home_id);

-- A session that another one of the same thread stands for, because both were opened under two ids of one channel.
-- Nothing is created for it any more, and no command reaches it by its thread.
ALTER TABLE thread_sessions ADD COLUMN alias_of uuid;

-- Makes `loser` an alias of `winner`, two sessions of one thread, and carries over what was asked for. Of two keys
-- the winner's stays, and a person looks; so also where each may have made a ticket.
CREATE FUNCTION threadsync_merge_sessions(winner_id uuid, loser_id uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    winner thread_sessions;
    loser  thread_sessions;
    asked  syncs;
    two_tickets boolean;
BEGIN
    SELECT * INTO STRICT winner FROM thread_sessions WHERE id = winner_id;
    SELECT * INTO STRICT loser FROM thread_sessions WHERE id = loser_id;
    PERFORM FROM syncs WHERE session_id IN (winner_id, loser_id) ORDER BY session_id FOR UPDATE;
    SELECT * INTO asked FROM syncs WHERE session_id = loser_id;
    two_tickets := winner.jira_key <> loser.jira_key
        OR (winner.jira_key IS NULL AND threadsync_may_have_ticket(winner_id) AND threadsync_may_have_ticket(loser_id));

    UPDATE thread_sessions
    SET status = CASE WHEN status = 'collecting' AND loser.status = 'ready_to_sync' THEN 'ready_to_sync' ELSE status END,
        ready_at = coalesce(ready_at, loser.ready_at), updated_at = now()
    WHERE id = winner_id;
    -- With the winner's key it is as if somebody had named it: what may be made is looked for, and not made again.
    UPDATE thread_sessions
    SET alias_of = winner_id, jira_key = coalesce(jira_key, winner.jira_key),
        status = CASE WHEN coalesce(jira_key, winner.jira_key) IS NULL THEN status ELSE 'synced' END,
        synced_at = CASE WHEN jira_key IS NULL AND winner.jira_key IS NOT NULL THEN now() ELSE synced_at END,
        updated_at = now()
    WHERE id = loser_id;
    -- Whoever was an alias of it is now one of the winner.
    UPDATE thread_sessions SET alias_of = winner_id WHERE alias_of = loser_id;

    IF two_tickets THEN
        INSERT INTO syncs AS s (session_id, draft, drafted_at, state, reason, next_attempt_at, duplicates)
        VALUES (winner_id, coalesce(asked.draft, '{"summary": "Two tickets for one thread"}'),
                coalesce(asked.drafted_at, 0), 'review', 'two_tickets', NULL,
                CASE WHEN loser.jira_key IS NULL THEN '{}' ELSE ARRAY[loser.jira_key] END)
        ON CONFLICT ON CONSTRAINT syncs_pkey DO UPDATE
        SET state = 'review', reason = 'two_tickets', detail = NULL, parked = false, next_attempt_at = NULL,
            queued_until = NULL, lease_until = NULL, fence = s.fence + 1, announce_at = now(), updated_at = now(),
            duplicates = ARRAY(SELECT DISTINCT unnest(s.duplicates || excluded.duplicates));
        UPDATE syncs
        SET state = 'review', reason = 'two_tickets', detail = NULL, parked = false, next_attempt_at = NULL,
            queued_until = NULL, lease_until = NULL, fence = fence + 1, announce_at = now(), updated_at = now()
        WHERE session_id = loser_id AND state <> 'done';
    ELSIF asked.session_id IS NOT NULL AND NOT threadsync_may_have_ticket(loser_id) AND loser.jira_key IS NULL THEN
        IF winner.jira_key IS NULL THEN
            INSERT INTO syncs AS s (session_id, draft, drafted_at) VALUES (winner_id, asked.draft, asked.drafted_at)
            ON CONFLICT ON CONSTRAINT syncs_pkey DO UPDATE
            SET draft = excluded.draft, drafted_at = excluded.drafted_at,
                -- As a newer draft does that comes by itself.
                (state, reason, next_attempt_at, failures, failing_since, recreates, fence) = (
                    SELECT CASE WHEN NOT v.revived THEN s.state WHEN v.doubt THEN 'unknown' ELSE 'pending' END,
                           CASE WHEN NOT v.revived THEN s.reason WHEN v.doubt THEN 'no_answer' END,
                           CASE WHEN NOT v.revived THEN s.next_attempt_at ELSE now() END,
                           CASE WHEN NOT v.revived THEN s.failures ELSE 0 END,
                           CASE WHEN NOT v.revived THEN s.failing_since END,
                           CASE WHEN NOT v.revived THEN s.recreates ELSE 0 END,
                           CASE WHEN NOT v.revived THEN s.fence ELSE s.fence + 1 END
                    FROM (SELECT s.state IN ('failed', 'review') OR s.state = 'blocked' AND NOT s.parked AS revived,
                                 threadsync_may_have_ticket(winner_id) AS doubt) AS v
                ),
                announce_at = now(), updated_at = now()
            WHERE (excluded.drafted_at, excluded.draft) > (s.drafted_at, s.draft) AND s.state <> 'done';
        END IF;
        UPDATE syncs
        SET state = 'failed', reason = 'moved', detail = NULL, parked = false, next_attempt_at = NULL,
            queued_until = NULL, lease_until = NULL, fence = fence + 1, announce_at = now(), updated_at = now()
        WHERE session_id = loser_id;
        -- The thread has one message; it goes on with the session that stays.
        UPDATE status_messages m SET session_id = winner_id, shown = NULL, fence = m.fence + 1
        WHERE m.session_id = loser_id AND m.message_ts IS NOT NULL
          AND EXISTS (SELECT FROM syncs WHERE session_id = winner_id)
          AND NOT EXISTS (SELECT FROM status_messages o WHERE o.session_id = winner_id);
        UPDATE syncs s SET announce_at = now() WHERE s.session_id = winner_id;
        -- One that never had a message need not say that it moved.
        UPDATE syncs s SET announce_at = NULL
        WHERE s.session_id = loser_id
          AND NOT EXISTS (SELECT FROM status_messages m WHERE m.session_id = loser_id);
    END IF;
END
$$;

-- Whether a ticket was made for the session, or may have been.
CREATE FUNCTION threadsync_may_have_ticket(session uuid) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM sync_attempts a
        WHERE a.session_id = session AND a.step = 'create' AND (a.outcome IS NULL OR a.outcome IN ('unknown', 'created'))
    )
$$;

-- Notes that a channel got another id. From then on both lead to the same rows. Nobody opens a session meanwhile:
-- who does so afterwards finds the alias, and those from before are seen here.
CREATE FUNCTION threadsync_channel_moved(old_id text, new_id text)
RETURNS TABLE (home_id text, newest_id text, sessions integer, outcome text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    old_home text;
    new_home text;
    home     text;
    away     text;
    newest   text;
    seen     text[] := '{}';
    follower text;
    merged   integer := 0;
    pair     record;
BEGIN
    LOCK TABLE thread_sessions, channel_context IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM channel_aliases a WHERE a.channel_id = old_id AND a.moved_to = new_id) THEN
        RETURN QUERY SELECT a.home_id, a.newest_id, 0, 'unchanged' FROM channel_aliases a WHERE a.channel_id = old_id;
        RETURN;
    END IF;
    old_home := coalesce((SELECT a.home_id FROM channel_aliases a WHERE a.channel_id = old_id), old_id);
    new_home := coalesce((SELECT a.home_id FROM channel_aliases a WHERE a.channel_id = new_id), new_id);
    home := old_home;
    -- Rows keep their id where that is possible: those of the old id, and else those of the new one.
    IF NOT EXISTS (SELECT FROM thread_sessions t WHERE t.channel_id = old_home)
       AND NOT EXISTS (SELECT FROM channel_context c WHERE c.channel_id = old_home)
       AND EXISTS (SELECT FROM thread_sessions t WHERE t.channel_id = new_home) THEN
        home := new_home;
    END IF;
    away := CASE WHEN home = old_home THEN new_home ELSE old_home END;

    INSERT INTO channel_aliases (channel_id, home_id, newest_id, moved_to)
    VALUES (old_id, home, new_id, new_id), (new_id, home, new_id, NULL)
    ON CONFLICT ON CONSTRAINT channel_aliases_pkey DO UPDATE
    SET moved_to = CASE WHEN channel_aliases.channel_id = old_id THEN new_id ELSE channel_aliases.moved_to END,
        moved_at = now();
    -- The newest: what the new id was moved to, as the news may come in any order. A circle ends at the new id,
    -- which has come back to life.
    newest := new_id;
    LOOP
        seen := seen || newest;
        SELECT a.moved_to INTO follower FROM channel_aliases a WHERE a.channel_id = newest;
        EXIT WHEN follower IS NULL;
        IF follower = ANY (seen) OR follower = old_id THEN
            newest := new_id;
            UPDATE channel_aliases a SET moved_to = NULL WHERE a.channel_id = new_id;
            EXIT;
        END IF;
        newest := follower;
    END LOOP;
    UPDATE channel_aliases a SET home_id = home, newest_id = newest WHERE a.home_id IN (old_home, new_home);

    IF home <> away THEN
        -- First, and then looked at: a create that begins just now has locked its session.
        PERFORM FROM thread_sessions t WHERE t.channel_id IN (home, away) AND t.thread_ts IN (
            SELECT o.thread_ts FROM thread_sessions o WHERE o.channel_id = away AND o.alias_of IS NULL
        ) ORDER BY t.id FOR UPDATE;
        FOR pair IN
            SELECT h.id AS home_session, o.id AS away_session,
                   (o.jira_key IS NOT NULL)::integer * 2 + threadsync_may_have_ticket(o.id)::integer
                   > (h.jira_key IS NOT NULL)::integer * 2 + threadsync_may_have_ticket(h.id)::integer
                       AS away_stays
            FROM thread_sessions o JOIN thread_sessions h
              ON h.channel_id = home AND h.thread_ts = o.thread_ts
            WHERE o.channel_id = away AND o.alias_of IS NULL
            ORDER BY o.id
        LOOP
            merged := merged + 1;
            IF pair.away_stays THEN
                PERFORM threadsync_merge_sessions(pair.away_session, pair.home_session);
                -- One thread has one row under an id, so the two change places by a third one.
                UPDATE thread_sessions t SET channel_id = 'alias.' || t.id WHERE t.id = pair.home_session;
                UPDATE thread_sessions t SET channel_id = home WHERE t.id = pair.away_session;
                UPDATE thread_sessions t SET channel_id = away WHERE t.id = pair.home_session;
            ELSE
                PERFORM threadsync_merge_sessions(pair.home_session, pair.away_session);
            END IF;
        END LOOP;
        UPDATE thread_sessions t SET channel_id = home WHERE t.channel_id = away AND t.alias_of IS NULL;

        -- The context follows: of the same member the one that was written last stands.
        INSERT INTO channel_context AS c (channel_id, context_data, version, updated_at)
        SELECT home, o.context_data, o.version, o.updated_at FROM channel_context o WHERE o.channel_id = away
        ON CONFLICT ON CONSTRAINT channel_context_pkey DO UPDATE
        SET context_data = CASE
                WHEN octet_length(c.context_data::text) + octet_length(excluded.context_data::text) > 1000000
                    THEN CASE WHEN excluded.updated_at > c.updated_at THEN excluded.context_data ELSE c.context_data END
                WHEN excluded.updated_at > c.updated_at
                    THEN threadsync_merge_patch(c.context_data, excluded.context_data)
                ELSE threadsync_merge_patch(excluded.context_data, c.context_data) END,
            version = c.version + excluded.version, updated_at = greatest(c.updated_at, excluded.updated_at);
        INSERT INTO channel_context_commands (channel_id, command_id, applied_at)
        SELECT home, o.command_id, o.applied_at FROM channel_context_commands o WHERE o.channel_id = away
        ON CONFLICT ON CONSTRAINT channel_context_commands_pkey DO NOTHING;
    END IF;
    RETURN QUERY SELECT home, newest, merged, 'applied'::text;
END
$$;
