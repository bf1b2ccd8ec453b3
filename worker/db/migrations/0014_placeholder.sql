-- In place of the migration with this number that another branch has: numbers have no gap. Drop this file when they meet.
COMMENT ON TABLE threadsync_schema IS 'The migrations that this database has had.';
