"""Channel contexts in both stores: the merge patch of RFC 7396, repetition and races."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.servers import ask
from threadsync.errors import InvalidCommand
from worker.db import AsyncSessionStore

CHANNEL = "C0123ABCD"

# https://www.rfc-editor.org/rfc/rfc7396#appendix-A: original, patch, result.
RFC_7396_APPENDIX_A: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("original", "patch", "result"), RFC_7396_APPENDIX_A)
def test_the_examples_of_the_rfc(database_url: str, original: Any, patch: Any, result: Any) -> None:
    """The function in the database gives the results of RFC 7396's appendix."""
    merge = "SELECT threadsync_merge_patch(%s, %s)"
    assert ask(database_url, merge, Jsonb(original), Jsonb(patch)) == result


async def test_the_examples_of_the_rfc_through_the_store(any_store: AsyncSessionStore) -> None:
    """The store gives the results of RFC 7396's appendix wherever original and patch are objects."""
    for number, (original, patch, result) in enumerate(RFC_7396_APPENDIX_A):
        # The first patch goes onto an empty object, in which a null would not be stored.
        if isinstance(original, dict) and isinstance(patch, dict) and None not in original.values():
            await any_store.merge_channel_context(f"C{number}", original, uuid4())
            merged = await any_store.merge_channel_context(f"C{number}", patch, uuid4())
            assert merged.context_data == result


async def test_the_first_patch_creates(any_store: AsyncSessionStore) -> None:
    """The first patch creates version 1, a second is applied as version 2, and a read returns the same."""
    created = await any_store.merge_channel_context(CHANNEL, {"a": 1, "gone": None}, uuid4())
    assert (created.outcome, created.version, created.context_data) == ("created", 1, {"a": 1})
    applied = await any_store.merge_channel_context(CHANNEL, {"b": {"c": None}}, str(uuid4()))
    assert (applied.outcome, applied.version, applied.context_data) == ("applied", 2, {"a": 1, "b": {}})
    read = await any_store.get_channel_context(CHANNEL)
    assert read is not None
    assert read.model_dump() == applied.model_dump(exclude={"outcome"})


async def test_an_empty_patch_creates_too(any_store: AsyncSessionStore) -> None:
    """An empty patch creates an empty context."""
    assert (await any_store.merge_channel_context(CHANNEL, {}, uuid4())).context_data == {}


async def test_one_command_id_counts_for_each_channel(any_store: AsyncSessionStore) -> None:
    """The same command id in another channel is a new command."""
    command_id = uuid4()
    await any_store.merge_channel_context("C1", {"a": 1}, command_id)
    assert (await any_store.merge_channel_context("C2", {"a": 1}, command_id)).outcome == "created"


async def test_racing_patches_all_apply(any_store: AsyncSessionStore) -> None:
    """Forty concurrent patches to a new channel are all applied, and the version counts them."""
    results = await asyncio.gather(
        *(any_store.merge_channel_context(CHANNEL, {f"key{n}": n}, uuid4()) for n in range(40))
    )
    context = await any_store.get_channel_context(CHANNEL)
    assert context is not None
    assert context.context_data == {f"key{n}": n for n in range(40)}
    assert sorted(result.version for result in results) == list(range(1, 41))
    assert [result.outcome for result in results].count("created") == 1


async def test_a_racing_repetition_applies_once(any_store: AsyncSessionStore) -> None:
    """A command sent twenty times at once is applied once."""
    command_id = uuid4()
    results = await asyncio.gather(
        *(any_store.merge_channel_context(CHANNEL, {"a": 1}, command_id) for _ in range(20))
    )
    assert {result.version for result in results} == {1}
    assert sorted(result.outcome for result in results) == ["created"] + ["unchanged"] * 19


async def test_a_repetition_changes_no_time(any_store: AsyncSessionStore) -> None:
    """A repeated command leaves `updated_at` as it was."""
    command_id = uuid4()
    first = await any_store.merge_channel_context(CHANNEL, {"a": 1}, command_id)
    again = await any_store.merge_channel_context(CHANNEL, {"a": 1}, command_id)
    assert again.updated_at == first.updated_at


async def test_every_json_value_comes_back(any_store: AsyncSessionStore) -> None:
    """Every JSON value is stored and returned unchanged: any script, big numbers, nested lists."""
    value = {
        "text": 'ünï☃ 🎫 \\u0000 "quoted" \\',
        "numbers": [0, -1, 1.5, 10**30, 1e-9],
        "nested": [[], {}, [None, True, {"a": [None]}]],
        "": "an empty key",
    }
    assert (await any_store.merge_channel_context(CHANNEL, value, uuid4())).context_data == value


async def test_a_context_is_bounded(any_store: AsyncSessionStore, database_url: str) -> None:
    """A channel's context stays below 1 MiB: the patch that would exceed it is refused and not counted."""
    full = {f"key{n}": "x" * 60_000 for n in range(17)}
    with psycopg.connect(database_url) as connection:
        insert = "INSERT INTO channel_context (channel_id, context_data) VALUES (%s, %s)"
        connection.execute(insert, [CHANNEL, Jsonb(full)])
    command_id = uuid4()
    with pytest.raises(InvalidCommand, match="1 MiB"):
        await any_store.merge_channel_context(CHANNEL, {"more": "x" * 60_000}, command_id)
    await any_store.merge_channel_context(CHANNEL, {"key0": None}, uuid4())
    assert (await any_store.merge_channel_context(CHANNEL, {"more": "x"}, command_id)).outcome == "applied"
