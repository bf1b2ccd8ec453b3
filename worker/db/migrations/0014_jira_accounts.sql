-- Which account sent a create, as a hash, and whether the create named a reporter: another account, or one that is
-- not the reporter, may not see the ticket. Creates of before say nothing, and count as another account's.
ALTER TABLE sync_attempts ADD COLUMN account text, ADD COLUMN has_reporter boolean NOT NULL DEFAULT false;

-- The sync by which a site is probed whose trouble `GET /myself` does not show.
ALTER TABLE jira_sites ADD COLUMN probe_session_id uuid;

-- Projects in which naming the requester as the reporter did not work: `refused`, Jira took no such ticket the last
-- time; `hidden`, it took it and our account cannot see it, so that the project's tickets go without until it does.
CREATE TABLE jira_reporters (
    site        text        NOT NULL,
    project_key text        NOT NULL,
    problem     text        NOT NULL,
    jira_id     text,
    noted_at    timestamptz NOT NULL,
    looked_at   timestamptz NOT NULL,
    over_at     timestamptz,
    CONSTRAINT jira_reporters_pkey PRIMARY KEY (site, project_key, problem),
    CONSTRAINT jira_reporters_problem_check CHECK (problem IN ('hidden', 'refused')),
    CONSTRAINT jira_reporters_hidden_check CHECK ((problem = 'hidden') = (jira_id IS NOT NULL))
);
