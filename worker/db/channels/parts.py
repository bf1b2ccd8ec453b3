"""Parts of the statements that patch a channel's context, of which the member ``threadsync`` is our own."""
# ruff: noqa: S608 - made of names that stand here

from __future__ import annotations

from typing import Final

from worker.db.session_parts import BY, HOME, IS_ALLOWED, REFUSED

# Names of the settings: `threadsync.channel_settings.values.NAMES`.
SETTINGS: Final = "'{project_key,issue_type,labels,priority,include,who}'::text[]"

# Applies a merge patch once a command_id. `first_time` is empty for a repetition; its write changes nothing.
# For a day after its channel was forgotten a patch is stale: it may have been on its way. A patch of our own
# member is an act on the channel's settings: the ones that it wrote, none if it removed all, and no values.
# One of other programs' members is recorded if it names its actor.
MERGED: Final = f"""{REFUSED}, forgotten AS (
    SELECT FROM forgotten_channels
    WHERE channel_id = {HOME} AND forgotten_at > now() - interval '1 day'
), first_time AS (
    INSERT INTO channel_context_commands (channel_id, command_id, applied_by)
    SELECT {HOME}, %(command_id)s::uuid, {BY} WHERE NOT EXISTS (SELECT FROM forgotten) AND {IS_ALLOWED}
    ON CONFLICT ON CONSTRAINT channel_context_commands_pkey DO NOTHING
    RETURNING command_id
), acted AS (
    INSERT INTO channel_acts (channel_id, act, command_id, settings, actor, reason)
    SELECT {HOME},
           CASE WHEN NOT %(patch)s::jsonb ? 'threadsync' THEN 'patch'
                WHEN jsonb_typeof(%(patch)s::jsonb -> 'threadsync') = 'object' THEN 'set'
                ELSE 'reset' END,
           command_id,
           CASE WHEN jsonb_typeof(%(patch)s::jsonb -> 'threadsync') = 'object' THEN ARRAY(
               SELECT name FROM unnest({SETTINGS}) AS name
               WHERE (%(patch)s::jsonb -> 'threadsync') ? name
           ) ELSE '{{}}' END,
           {BY}, %(reason)s::text
    FROM first_time
    WHERE %(patch)s::jsonb ? 'threadsync' OR {BY} IS NOT NULL
), merged AS (
    INSERT INTO channel_context AS c (channel_id, context_data)
    SELECT {HOME}, CASE WHEN EXISTS (SELECT FROM forgotten) THEN '{{}}'
                         ELSE threadsync_merge_patch('{{}}', %(patch)s::jsonb) END
    WHERE {IS_ALLOWED}
    ON CONFLICT ON CONSTRAINT channel_context_pkey DO UPDATE
    SET context_data = CASE WHEN EXISTS (SELECT FROM first_time)
                            THEN threadsync_merge_patch(c.context_data, %(patch)s::jsonb)
                            ELSE c.context_data END,
        version = c.version + (SELECT count(*)::integer FROM first_time),
        updated_at = CASE WHEN EXISTS (SELECT FROM first_time) THEN now() ELSE c.updated_at END
    RETURNING new.channel_id, new.context_data, new.version, new.updated_at,
              old.channel_id IS NULL AS inserted
)"""
OUTCOME_OF_PATCH: Final = """CASE WHEN EXISTS (SELECT FROM forgotten) THEN 'stale'
            WHEN inserted THEN 'created'
            WHEN EXISTS (SELECT FROM first_time) THEN 'applied'
            ELSE 'unchanged' END AS outcome"""
