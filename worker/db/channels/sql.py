"""SQL of channels' settings as operators read and change them."""

from __future__ import annotations

from typing import Final, LiteralString

from worker.db.channels.parts import MERGED, OUTCOME_OF_PATCH
from worker.db.session_parts import HOME

# Our own member of a channel's context, and nothing of other programs'. No row: the channel has no context.
GET_SETTINGS: Final[LiteralString] = f"""
SELECT channel_id, context_data -> 'threadsync' AS settings
FROM channel_context WHERE channel_id = {HOME}
"""

# Merges a patch into our own member, as the command does; it can touch and returns no other member.
CHANGE_SETTINGS: Final[LiteralString] = f"""
WITH {MERGED.replace("%(patch)s::jsonb", "jsonb_build_object('threadsync', %(settings)s::jsonb)")}
SELECT channel_id, context_data -> 'threadsync' AS settings, {OUTCOME_OF_PATCH}
FROM merged
UNION ALL
SELECT channel_id, context_data -> 'threadsync', 'refused'
FROM channel_context WHERE channel_id = {HOME} AND EXISTS (SELECT FROM refused)
"""

# Acts on a channel's settings, under any of its ids, newest first.
LIST_ACTS: Final[LiteralString] = f"""
SELECT at, settings, actor, reason FROM channel_acts
WHERE act IN ('set', 'reset')
  AND channel_id IN (
      SELECT {HOME}
      UNION ALL
      SELECT a.channel_id FROM channel_aliases a WHERE a.home_id = {HOME}
  )
ORDER BY id DESC LIMIT %(limit)s
"""

# Channels that have settings, or something else in their place.
LIST_CONFIGURED: Final[LiteralString] = """
SELECT channel_id, context_data -> 'threadsync' AS settings
FROM channel_context WHERE context_data ? 'threadsync' AND channel_id > %(after)s
ORDER BY channel_id LIMIT %(limit)s
"""
