"""Strategies for channel settings and contexts, and merge patches as RFC 7396 has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from threadsync.channel_settings.values import MEMBER, NAMES, UNVERIFIED, SettingName, Value

_IDS = st.from_regex(r"[UWS][A-Z0-9]{1,10}", fullmatch=True)
_TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"]), min_size=1, max_size=30
).filter(str.strip)


def _lists(items: st.SearchStrategy[str], most: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(items, min_size=1, max_size=most, unique=True).map(tuple)


VALUES: Mapping[SettingName, st.SearchStrategy[Value]] = {
    "project_key": st.from_regex(r"[A-Z][A-Z0-9_]{0,49}", fullmatch=True),
    "issue_type": _TEXTS,
    "labels": _lists(_TEXTS, 10),
    "priority": _TEXTS,
    "include": st.sampled_from(["link", "text", "files"]),
    "who": st.one_of(st.sampled_from(["workspace", "everyone"]), _lists(_IDS, 100)),
}
NAMED = st.sampled_from(NAMES)
PAIRS = NAMED.flatmap(lambda name: st.tuples(st.just(name), VALUES[name]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
JUNK = st.one_of(
    JSON,
    st.dictionaries(st.sampled_from([*NAMES, UNVERIFIED, "other"]), JSON, max_size=6),
    st.fixed_dictionaries({UNVERIFIED: st.dictionaries(st.sampled_from([*NAMES, "x"]), JSON)}),
)
CONTEXTS = st.dictionaries(st.text(max_size=8), JSON, max_size=4).flatmap(
    lambda others: JUNK.map(lambda ours: {**others, MEMBER: ours})
)


def merged(target: Any, patch: Any) -> Any:
    """Apply a merge patch as RFC 7396, section 2, has it."""
    if not isinstance(patch, Mapping):
        return patch
    target = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = merged(target.get(name), value)
    return target
