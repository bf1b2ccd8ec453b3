"""Whether there is a ticket with our marker. Two channels, because each misses what the other one sees.

The label search sees every project, but seconds to minutes late, and not a label that an automation took
away. The key probe asks for the issues that came after the create by their keys: it sees them at once, with
the entity property that nobody takes away, but not one whose key is far off.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from worker.jira.answers import CallFailed, JiraIssue
from worker.jira.client import JiraClient
from worker.jira.decide import Absent, Found, Several, Unread

KEYS_AT_ONCE: Final = 100
_MOST_PAGES: Final = 5
_HITS: Final = 5
"""Beside those that were taken off: more than one is for a person anyway."""


@dataclass(frozen=True, slots=True)
class TakenOff:
    """The tickets that people took off the session: they keep their marker, and are passed over."""

    keys: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()

    def has(self, issue: JiraIssue) -> bool:
        return issue.key in self.keys or issue.id in self.ids


NONE: Final = TakenOff()


def search_label(jira: JiraClient, marker: str, left: TakenOff = NONE) -> Found | Several | Absent:
    """What the label search knows, each hit looked at as it is now. Raises ``CallFailed``."""
    return _verdict(_still_marked(jira, marker, left), marker)


def look(
    jira: JiraClient, marker: str, project_key: str, baseline: int, left: TakenOff = NONE
) -> Found | Several | Absent | Unread:
    """What both channels know; ``Unread`` when one could not be asked and the other one found nothing."""
    failed: CallFailed | None = None
    found: dict[str, JiraIssue] = {}
    try:
        found |= {issue.id: issue for issue in _probe(jira, marker, project_key, baseline, left)}
    except CallFailed as exc:
        failed = exc
    try:
        found |= {issue.id: issue for issue in _still_marked(jira, marker, left)}
    except CallFailed as exc:
        failed = failed or exc
    if failed and not found:
        return Unread(failed)
    return _verdict(found.values(), marker)


def _probe(jira: JiraClient, marker: str, project_key: str, baseline: int, left: TakenOff) -> list[JiraIssue]:
    for page in range(_MOST_PAGES):
        first = baseline + 1 + page * KEYS_AT_ONCE
        issues = jira.fetch([f"{project_key}-{number}" for number in range(first, first + KEYS_AT_ONCE)])
        marked = [issue for issue in issues if _is_marked(issue, marker) and not left.has(issue)]
        if marked or not issues:
            return marked
    return []


def _still_marked(jira: JiraClient, marker: str, left: TakenOff) -> list[JiraIssue]:
    """The hits that still exist, under the keys that they have now: the index may be behind."""
    hits = jira.search_label(marker, _HITS + len(left.keys))
    seen = (jira.get(issue.id) for issue in hits if not left.has(issue))
    return [issue for issue in seen if issue and _is_marked(issue, marker) and not left.has(issue)]


def _is_marked(issue: JiraIssue, marker: str) -> bool:
    return issue.marker == marker or marker in issue.labels


def _verdict(marked: Iterable[JiraIssue], marker: str) -> Found | Several | Absent:
    issues = list(marked)
    # A ticket that somebody cloned in Jira has our label, but not our property.
    ours = [issue for issue in issues if issue.marker == marker] or issues
    if not ours:
        return Absent()
    if len(ours) == 1:
        return Found(ours[0])
    return Several(tuple(sorted((issue.key for issue in ours), key=_number)))


def _number(key: str) -> tuple[str, int]:
    project, _, number = key.rpartition("-")
    return project, int(number) if number.isdigit() else 0
