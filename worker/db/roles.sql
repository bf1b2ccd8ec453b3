-- Five group roles, so that no login needs more than its work does. Run it once in the database, as a role that may
-- create roles; it may be repeated. `threadsync migrate` gives them their rights on tables, anew each time.
--
--   threadsync_migrate   owns the tables, and runs `threadsync migrate`
--   threadsync_run       workers and the command line: rows, no tables
--   threadsync_console   the console: what it shows, and by functions what it changes
--   threadsync_forget    has no login: what is forgotten or too old goes by functions that it owns
--   threadsync_read      reports and `threadsync metrics`: no row is changed, and nothing that people wrote is seen
--
-- Then a login for each, with a password of your own:
--
--   CREATE ROLE threadsync_worker LOGIN PASSWORD '…' IN ROLE threadsync_run;
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'threadsync_migrate', 'threadsync_run', 'threadsync_console', 'threadsync_read', 'threadsync_forget'
    ] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        END IF;
    END LOOP;
    -- The schema that tables are made in: the first one of the search path. In a database of before Postgres 15 all logins
    -- may make functions there, which those of ours, run with the rights of others, could then take for the server's own.
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', current_schema());
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO threadsync_migrate', current_schema());
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO threadsync_run, threadsync_console, threadsync_read', current_schema());
    -- So that migrations can give functions to it.
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO threadsync_forget', current_schema());
    GRANT threadsync_forget TO threadsync_migrate;
END
$$;
