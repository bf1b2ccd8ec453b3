"""Bad input of every kind in both stores, which raises `InvalidCommand` and writes nothing."""

from __future__ import annotations

import asyncio
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.support.servers import ask
from threadsync.errors import InvalidCommand
from worker.db import AsyncSessionStore

THREAD: Final = ("C0123ABCD", "1700000000.000100")
MEGABYTE: Final = "x" * 1_000_000


def nested(levels: int, *, in_lists: bool = False) -> Any:
    value: Any = "core"
    for _ in range(levels):
        value = [value] if in_lists else {"a": value}
    return value


NOT_AN_ID: Final = {
    "none": None,
    "number": 5,
    "true": True,
    "bytes": b"C0123ABCD",
    "list": ["C0123ABCD"],
    "object": {"id": "C0123ABCD"},
    "empty": "",
    "space": " C0123ABCD",
    "newline": "C0123ABCD\n",
    "nul": "C0123\x00ABCD",
    "surrogate": "C0123\ud800ABCD",
    "emoji": "C0123🎫",
    "sql": "C1'; DROP TABLE thread_sessions; --",
    "format": "%(channel_id)s",
    "65-characters": "C" * 65,
    "megabyte": MEGABYTE,
}
NOT_A_TS: Final = {
    "none": None,
    "float": 1700000000.0001,
    "number": 1700000000,
    "nan": float("nan"),
    "no-dot": "1700000000",
    "two-dots": "1700000000.0001.0",
    "exponent": "1.7e9",
    "negative": "-1700000000.000100",
    "newline": "1700000000.000100\n",
    "nul": "1700000000.0001\x00",
    "surrogate": "1700000000.\udfff",
    "other-digits": "\u0661\u0667.\u0660",
    "17-digits": "1" * 17 + ".1",
    "megabyte": "1." + "1" * 1_000_000,
}
NOT_A_STATUS: Final = {
    "none": None,
    "unknown": "done",
    "upper-case": "COLLECTING",
    "blank-added": "collecting ",
    "list": ["collecting"],
    "number": 0,
    "true": True,
    "synced": "synced",
    "nul": "collecting\x00",
    "megabyte": MEGABYTE,
}
NOT_A_KEY: Final = {
    "none": None,
    "number": 1,
    "empty": "",
    "lower-case": "proj-1",
    "no-number": "PROJ-",
    "zero": "PROJ-0",
    "leading-zero": "PROJ-01",
    "url": "https://example.atlassian.net/browse/PROJ-1",
    "newline": "PROJ-1\n",
    "nul": "PROJ-1\x00",
    "surrogate": "PROJ-1\ud83c",
    "megabyte": "P" * 1_000_000 + "-1",
}
NOT_A_PATCH: Final = {
    "none": None,
    "number": 5,
    "text": "abc",
    "list": [1],
    "pairs": [("a", 1)],
    "number-as-key": {1: "a"},
    "nan": {"a": float("nan")},
    "infinity": {"a": [float("inf")]},
    "nul": {"a": "b\x00"},
    "nul-in-key": {"a": {"b\x00": 1}},
    "escaped-nul-after-backslash": {"a": "\\\x00"},
    "surrogate": {"a": "\ud800"},
    "surrogate-in-key": {"\udc00": 1},
    "bytes": {"a": b"x"},
    "set": {"a": {1}},
    "object": {"a": object()},
    "huge-number": {"a": 10**5000},
    "33-levels": nested(33),
    "hostile-nesting": {"a": nested(100_000, in_lists=True)},
    "megabyte": {"a": MEGABYTE},
}
NOT_A_UUID: Final[dict[str, Any]] = {
    "none": None,
    "number": 5,
    "text": "not-a-uuid",
    "nul": "\x00" * 36,
    "surrogate": "\ud800" * 32,
    "list": [],
    "megabyte": MEGABYTE,
}
NOT_A_LIMIT: Final = {
    "none": None,
    "zero": 0,
    "201": 201,
    "text": "50",
    "float": 50.0,
    "true": True,
    "huge": 10**100,
}
NOT_A_CURSOR: Final = {"number": 5, "empty": "", "text": "page 2", "nul": "\x00", "megabyte": MEGABYTE}

CALLS: Final[list[tuple[str, tuple[Any, ...], int, dict[str, Any]]]] = [
    ("get_or_create_session", (*THREAD, "U0456"), 0, NOT_AN_ID),
    ("get_or_create_session", (*THREAD, "U0456"), 1, NOT_A_TS),
    ("get_or_create_session", (*THREAD, "U0456"), 2, NOT_AN_ID),
    ("update_status", (*THREAD, "ready_to_sync"), 0, NOT_AN_ID),
    ("update_status", (*THREAD, "ready_to_sync"), 1, NOT_A_TS),
    ("update_status", (*THREAD, "ready_to_sync"), 2, NOT_A_STATUS),
    ("mark_synced", (*THREAD, "PROJ-1"), 0, NOT_AN_ID),
    ("mark_synced", (*THREAD, "PROJ-1"), 1, NOT_A_TS),
    ("mark_synced", (*THREAD, "PROJ-1"), 2, NOT_A_KEY),
    ("get_session", (uuid4(),), 0, NOT_A_UUID),
    ("get_session_by_thread", THREAD, 0, NOT_AN_ID),
    ("get_session_by_thread", THREAD, 1, NOT_A_TS),
    ("list_sessions_by_channel", ("C1", None, 50, None), 0, NOT_AN_ID),
    ("list_sessions_by_channel", ("C1", None, 50, None), 1, {"unknown": "done", "list": []}),
    ("list_sessions_by_channel", ("C1", None, 50, None), 2, NOT_A_LIMIT),
    ("list_sessions_by_channel", ("C1", None, 50, None), 3, NOT_A_CURSOR),
    ("list_sessions", (None, 50, None), 0, {"unknown": "done", "list": []}),
    ("list_sessions", (None, 50, None), 1, NOT_A_LIMIT),
    ("list_sessions", (None, 50, None), 2, NOT_A_CURSOR),
    ("get_channel_context", ("C1",), 0, NOT_AN_ID),
    ("merge_channel_context", ("C1", {"a": 1}, uuid4()), 0, NOT_AN_ID),
    ("merge_channel_context", ("C1", {"a": 1}, uuid4()), 1, NOT_A_PATCH),
    ("merge_channel_context", ("C1", {"a": 1}, uuid4()), 2, NOT_A_UUID),
]
CASES: Final = [
    pytest.param(method, arguments, place, bad, id=f"{method}-{place}")
    for method, arguments, place, bad in CALLS
]


@pytest.mark.parametrize(("method", "arguments", "place", "bad"), CASES)
async def test_a_bad_argument_is_refused(
    any_store: AsyncSessionStore,
    database_url: str,
    method: str,
    arguments: tuple[Any, ...],
    place: int,
    bad: dict[str, Any],
) -> None:
    """A bad argument is refused in one short line, and no row is written."""
    for kind, value in bad.items():
        with pytest.raises(InvalidCommand) as refusal:
            await getattr(any_store, method)(*arguments[:place], value, *arguments[place + 1 :])
        assert len(str(refusal.value)) < 300, kind
        assert "\n" not in str(refusal.value), kind
    for table in ("thread_sessions", "channel_context", "channel_context_commands"):
        assert ask(database_url, f"SELECT count(*) FROM {table}") == 0  # noqa: S608


async def test_all_faults_are_named_at_once(any_store: AsyncSessionStore) -> None:
    """All faulty arguments of a call are named in one error."""
    with pytest.raises(InvalidCommand, match=r"channel_id: .*; thread_ts: .*; user_id: "):
        await any_store.get_or_create_session("", 1.5, None)  # type: ignore[arg-type]


async def test_a_refused_command_leaves_the_store_usable(any_store: AsyncSessionStore) -> None:
    """Good calls succeed beside refused ones that run at the same time."""
    good = [any_store.get_or_create_session("C1", f"{n}.1", "U1") for n in range(1, 21)]
    bad = [any_store.get_or_create_session("C1", "\x00", "U1") for _ in range(20)]
    results = await asyncio.gather(*good, *bad, return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["SessionResult"] * 20 + ["InvalidCommand"] * 20
