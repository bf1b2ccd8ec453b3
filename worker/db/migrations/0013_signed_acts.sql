-- By which login of the database, and by which way in, a person's act was recorded. The server writes both: whoever
-- inserts the row has no say in it. Rows of before say nothing.
ALTER TABLE sync_actions ADD COLUMN via text, ADD COLUMN login text;
ALTER TABLE session_actions ADD COLUMN via text, ADD COLUMN login text;
ALTER TABLE session_acts ADD COLUMN via text, ADD COLUMN login text;
ALTER TABLE forget_acts ADD COLUMN via text, ADD COLUMN login text;
ALTER TABLE installation_actions ADD COLUMN via text, ADD COLUMN login text;
ALTER TABLE dead_letters ADD COLUMN settled_via text, ADD COLUMN settled_login text;

-- Whether the session belongs to a login of the console's, which may name nobody as a user of Slack, and no other way in.
CREATE FUNCTION threadsync_is_console() RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        pg_has_role(session_user, to_regrole('threadsync_console'), 'USAGE')
        AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = session_user),
        false
    )
$$;

-- Writes login, way in and, of the console's, the time into the row of an act. Arguments: the columns of the claim of who
-- acts, the way in, the login and the time. A table without the first has no claim.
CREATE FUNCTION threadsync_sign() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    claim jsonb := to_jsonb(NEW) -> TG_ARGV[0];
    by_console boolean := threadsync_is_console();
    signed jsonb;
BEGIN
    IF jsonb_typeof(claim) IS DISTINCT FROM 'object' THEN
        claim := NULL;
    END IF;
    IF by_console AND claim ? 'user_id' THEN
        RAISE 'the console names no user of Slack' USING ERRCODE = 'insufficient_privilege';
    END IF;
    signed := jsonb_build_object(
        TG_ARGV[1], CASE WHEN by_console THEN 'console' WHEN claim ? 'user_id' THEN 'slack' ELSE claim ->> 'via' END,
        TG_ARGV[2], session_user
    );
    IF by_console THEN
        signed := signed || jsonb_build_object(TG_ARGV[3], now());
    END IF;
    IF by_console AND claim IS NOT NULL THEN
        signed := signed || jsonb_build_object(TG_ARGV[0], claim || '{"via": "console"}');
    END IF;
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
