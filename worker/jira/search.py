"""Search for tickets with our marker, over two channels: each misses what the other one sees.

The label search sees every project, but seconds to minutes late, and not a label that an automation took
away. The key probe asks for the issues that came after the create by their keys: it sees them at once, with
the entity property that no automation takes away, but not one whose key is far off.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from worker.jira.answers import CallFailed, JiraIssue
from worker.jira.client import JiraClient
from worker.jira.decide import Absent, Found, Several, Unread
from worker.jira.unlinked import NONE, Unlinked

KEYS_AT_ONCE: Final = 100
_MOST_PAGES: Final = 5
_HITS: Final = 5
"""Most hits beside the unlinked ones: more than one is left to an operator anyway."""


def search_label(jira: JiraClient, marker: str, unlinked: Unlinked = NONE) -> Found | Several | Absent:
    """Search for the label, and read each hit as it is now. Raises ``CallFailed``."""
    return _verdict(_still_marked(jira, marker, unlinked), marker)


def look(
    jira: JiraClient, marker: str, project_key: str, baseline: int, unlinked: Unlinked = NONE
) -> Found | Several | Absent | Unread:
    """Look for the ticket over both channels; ``Unread`` when one failed and the other found nothing."""
    failed: CallFailed | None = None
    found: dict[str, JiraIssue] = {}
    try:
        found |= {issue.id: issue for issue in _probe(jira, marker, project_key, baseline, unlinked)}
    except CallFailed as exc:
        failed = exc
    try:
        found |= {issue.id: issue for issue in _still_marked(jira, marker, unlinked)}
    except CallFailed as exc:
        failed = failed or exc
    if failed and not found:
        return Unread(failed)
    return _verdict(found.values(), marker)


def _probe(
    jira: JiraClient, marker: str, project_key: str, baseline: int, unlinked: Unlinked
) -> list[JiraIssue]:
    for page in range(_MOST_PAGES):
        first = baseline + 1 + page * KEYS_AT_ONCE
        issues = jira.fetch([f"{project_key}-{number}" for number in range(first, first + KEYS_AT_ONCE)])
        marked = [issue for issue in issues if _is_marked(issue, marker) and not unlinked.has(issue)]
        if marked or not issues:
            return marked
    return []


def _still_marked(jira: JiraClient, marker: str, unlinked: Unlinked) -> list[JiraIssue]:
    """Read the hits again, under the keys that they have now: the index may be behind."""
    hits = jira.search_label(marker, _HITS + len(unlinked.keys))
    seen = (jira.get(issue.id) for issue in hits if not unlinked.has(issue))
    return [issue for issue in seen if issue and _is_marked(issue, marker) and not unlinked.has(issue)]


def _is_marked(issue: JiraIssue, marker: str) -> bool:
    return issue.marker == marker or marker in issue.labels


def _verdict(marked: Iterable[JiraIssue], marker: str) -> Found | Several | Absent:
    issues = list(marked)
    # A ticket that was cloned in Jira has our label, but not our property.
    ours = [issue for issue in issues if issue.marker == marker] or issues
    if not ours:
        return Absent()
    if len(ours) == 1:
        return Found(ours[0])
    return Several(tuple(sorted((issue.key for issue in ours), key=_number)))


def _number(key: str) -> tuple[str, int]:
    project, _, number = key.rpartition("-")
    return project, int(number) if number.isdigit() else 0
