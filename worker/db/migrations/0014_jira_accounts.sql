-- Which account sent a create, as a hash, and whether the create named a reporter: another account, or one that is
-- not the reporter, may not see the ticket. Creates of before say nothing, and count as another account's.
ALTER TABLE sync_attempts ADD COLUMN account text, ADD COLUMN has_reporter boolean NOT NULL DEFAULT false;

-- The sync by which a site is probed whose trouble `GET /myself` does not show.
ALTER TABLE jira_sites ADD COLUMN probe_session_id uuid;
