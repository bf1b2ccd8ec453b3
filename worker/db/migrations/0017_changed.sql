-- Indexes for the console's lists, which begin with what changed last.

-- A list of all statuses is merged from one stretch of each, so this serves it with or without a status. An update that
-- moves updated_at changes an indexed status or key, too: none of them was ever heap-only.
CREATE INDEX thread_sessions_changed_idx ON thread_sessions (status, updated_at, id);
-- The same within a channel.
CREATE INDEX thread_sessions_channel_changed_idx ON thread_sessions (channel_id, status, updated_at, id);
CREATE INDEX syncs_changed_idx ON syncs (state, updated_at, session_id);
-- A dead letter changes when it is written and when it is settled.
CREATE INDEX dead_letters_changed_idx ON dead_letters (state, coalesce(settled_at, died_at), id);
