"""This process's connections to Jira: made on first use, so always after a fork, and kept."""

from __future__ import annotations

from functools import lru_cache

from threadsync.config import get_settings
from worker.db.syncs.store import SyncStore
from worker.jira.client import JiraClient
from worker.jira.target import target_of
from worker.jira.tools import Tools


@lru_cache(maxsize=1)
def tools_of_this_process() -> Tools | None:
    """None when the settings name no Jira."""
    target = target_of(get_settings())
    return Tools(SyncStore(), JiraClient(target.account), target) if target else None
