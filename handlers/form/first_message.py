"""Choose the summary that a form begins with: the first line of the thread's first message. Pure.

It goes into Slack's view, and into the draft if the person sends it; it is kept and logged nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from handlers.form.limits import cut
from threadsync.syncs import LONGEST_DRAFT_SUMMARY
from worker.text.slack_text import escape, one_line

_LONGEST_ENTITY: Final = 5
"""Characters of `&amp;`, which stands for one."""


def summary_of(messages: Iterable[Mapping[str, Any]], bot_id: str | None, bot_user: str | None) -> str | None:
    """Return the summary, in Slack's notation; None where there is no message but ours.

    A message that only calls us is passed over, and in others our name is left out.

    Args:
        messages: of the thread, oldest first.
        bot_id, bot_user: who we are. While that is not known, every bot counts as us.
    """
    for message in messages:
        if _is_ours(message, bot_id, bot_user):
            continue
        text = message.get("text")
        without_us = _without(bot_user, text)
        if not first_line(without_us) and without_us != text:
            continue
        if line := first_line(without_us):
            short = cut(line, LONGEST_DRAFT_SUMMARY)
            if len(escape(short)) > LONGEST_DRAFT_SUMMARY:
                short = cut(line, LONGEST_DRAFT_SUMMARY // _LONGEST_ENTITY)
            return escape(short)
        return None
    return None


def first_line(text: object) -> str:
    """Return the first line with something in it, as people see it."""
    lines = text.splitlines() if isinstance(text, str) else ()
    return next((line for line in map(one_line, lines) if line), "")


def _without(bot_user: str | None, text: object) -> object:
    """Return the text without mentions of us."""
    if not isinstance(text, str) or not bot_user:
        return text
    return re.sub(rf"<@{re.escape(bot_user)}(?:\|[^<>]*)?>[,:]?", "", text)


def _is_ours(message: Mapping[str, Any], bot_id: str | None, bot_user: str | None) -> bool:
    if bot_id is None and bot_user is None:
        return bool(message.get("bot_id"))
    return (bot_id is not None and message.get("bot_id") == bot_id) or (
        bot_user is not None and message.get("user") == bot_user
    )
