-- By which login of the database, and by which way in, a person's act was recorded. The server writes both: the one
-- who inserts the row has no say in it. Rows of before say nothing.
ALTER TABLE sync_actions ADD COLUMN via text, ADD COLUMN login text;
ALTER TABLE session_actions ADD COLUMN via text, ADD COLUMN login text;
ALTER TABLE session_acts ADD COLUMN via text, ADD COLUMN login text;
ALTER TABLE forget_acts ADD COLUMN via text, ADD COLUMN login text;
ALTER TABLE installation_actions ADD COLUMN via text, ADD COLUMN login text;
ALTER TABLE dead_letters ADD COLUMN settled_via text, ADD COLUMN settled_login text;

-- Whether the session belongs to a login of the console's, also to one that has to take the role first. Such a login may
-- name no user of Slack, and no other way in.
CREATE FUNCTION threadsync_is_console() RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        (
            pg_has_role(session_user, to_regrole('threadsync_console'), 'USAGE')
            OR pg_has_role(session_user, to_regrole('threadsync_console'), 'SET')
        )
        AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = session_user),
        false
    )
$$;

-- Writes login and way in into the row of an act; of the console also the time, which is not that at which its
-- transaction began, and the claim of who acts, so that nothing in it can be taken for a user of Slack. Arguments: the
-- columns of that claim, the way in, the login and the time. A table without the first has no claim.
CREATE FUNCTION threadsync_sign() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    given  jsonb := to_jsonb(NEW);
    claim  jsonb := nullif(given -> TG_ARGV[0], 'null');
    signed jsonb := jsonb_build_object(TG_ARGV[2], session_user);
    who    text;
BEGIN
    IF NOT threadsync_is_console() THEN
        signed := signed || jsonb_build_object(TG_ARGV[1], CASE WHEN jsonb_typeof(claim) = 'object' THEN
            CASE WHEN claim ? 'user_id' THEN 'slack' ELSE claim ->> 'via' END END);
        RETURN jsonb_populate_record(NEW, signed);
    END IF;
    IF claim ? 'user_id' THEN
        RAISE 'the console names no user of Slack' USING ERRCODE = 'insufficient_privilege';
    END IF;
    who := CASE WHEN claim IS NULL THEN given ->> 'actor' WHEN jsonb_typeof(claim) = 'object' THEN claim ->> 'name' END;
    IF who IS NULL OR who !~ '\S' OR length(who) > 200 OR length(given ->> 'reason') > 2000 THEN
        RAISE 'the console says who acts in at most 200 characters, and why in at most 2000'
            USING ERRCODE = 'check_violation';
    END IF;
    claim := jsonb_build_object('name', who, 'via', 'console') || CASE
        WHEN claim ->> 'address' ~ '^[^[:space:][:cntrl:]]{1,100}$' THEN jsonb_build_object('address', claim ->> 'address')
        ELSE '{}' END;
    -- A claim in the column `actor` itself is the last of that name.
    signed := signed || jsonb_build_object(
        TG_ARGV[1], 'console', TG_ARGV[3], clock_timestamp(), 'actor', who, TG_ARGV[0], claim
    );
    RETURN jsonb_populate_record(NEW, signed);
END
$$;

CREATE TRIGGER sync_actions_sign BEFORE INSERT ON sync_actions
    FOR EACH ROW EXECUTE FUNCTION threadsync_sign('acted_by', 'via', 'login', 'at');
CREATE TRIGGER session_actions_sign BEFORE INSERT ON session_actions
    FOR EACH ROW EXECUTE FUNCTION threadsync_sign('acted_by', 'via', 'login', 'at');
CREATE TRIGGER session_acts_sign BEFORE INSERT ON session_acts
    FOR EACH ROW EXECUTE FUNCTION threadsync_sign('actor', 'via', 'login', 'at');
CREATE TRIGGER forget_acts_sign BEFORE INSERT ON forget_acts
    FOR EACH ROW EXECUTE FUNCTION threadsync_sign('acted_by', 'via', 'login', 'at');
CREATE TRIGGER installation_actions_sign BEFORE INSERT ON installation_actions
    FOR EACH ROW EXECUTE FUNCTION threadsync_sign('acted_by', 'via', 'login', 'at');
CREATE TRIGGER dead_letters_sign BEFORE UPDATE OF state ON dead_letters
    FOR EACH ROW WHEN (OLD.state = 'dead' AND NEW.state <> 'dead')
    EXECUTE FUNCTION threadsync_sign('settled_by', 'settled_via', 'settled_login', 'settled_at');
