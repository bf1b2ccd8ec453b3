"""A channel's context is a JSON object, changed by merge patches (RFC 7396), each applied once."""

from __future__ import annotations

from uuid import uuid4

from worker.db import AsyncSessionStore

CHANNEL = "C0123ABCD"


async def test_patches_merge(any_store: AsyncSessionStore) -> None:
    """Objects merge key by key, null removes a key, anything else replaces."""
    await any_store.merge_channel_context(
        CHANNEL, {"team": {"lead": "U1", "on_call": "U2"}, "tags": ["a", "b"]}, uuid4()
    )
    result = await any_store.merge_channel_context(
        CHANNEL, {"team": {"on_call": None}, "tags": ["c"]}, uuid4()
    )
    assert result.context_data == {"team": {"lead": "U1"}, "tags": ["c"]}
    assert (result.outcome, result.version) == ("applied", 2)


async def test_the_same_command_applies_once(any_store: AsyncSessionStore) -> None:
    """A patch that is delivered again, after another patch, changes nothing and says so."""
    late = uuid4()
    await any_store.merge_channel_context(CHANNEL, {"topic": "old"}, late)
    await any_store.merge_channel_context(CHANNEL, {"topic": "new"}, uuid4())
    again = await any_store.merge_channel_context(CHANNEL, {"topic": "old"}, late)
    assert (again.outcome, again.version, again.context_data) == ("unchanged", 2, {"topic": "new"})


async def test_an_unknown_channel_has_no_context(any_store: AsyncSessionStore) -> None:
    """Before the first patch the context is None, not an empty object."""
    assert await any_store.get_channel_context(CHANNEL) is None
