"""The tickets of the sandbox Jira: their keys, late creates, and an index that lags behind. No I/O."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from sandbox.jira.issues import Draft, Issue
from sandbox.jira.jql import Query

_FIRST_ID: Final = 10_000


class IssueStore:
    """Store of tickets, safe for threads. Each read or write first makes the tickets that are due by now.

    Args:
        projects: keys of the projects that exist.
        clock: the time in seconds.
        search_lag: seconds until the search sees a change. May be changed at any time.
    """

    def __init__(
        self,
        projects: Sequence[str] = ("PROJ",),
        clock: Callable[[], float] = time.time,
        search_lag: float = 0.0,
    ) -> None:
        self.projects = {key: str(_FIRST_ID + place) for place, key in enumerate(projects)}
        self.clock = clock
        self.search_lag = search_lag
        self._lock = threading.RLock()
        self._ids = itertools.count(_FIRST_ID)
        self._late_order = itertools.count()
        self._last_numbers: Counter[str] = Counter()
        self._issues: dict[str, Issue] = {}
        self._id_by_key: dict[str, str] = {}
        # For the index: every version of every ticket, None when deleted; and all tickets that had a label.
        self._versions: dict[str, list[tuple[float, Issue | None]]] = {}
        self._ids_by_label: dict[str, list[str]] = defaultdict(list)
        self._late: list[tuple[float, int, Callable[[float], object]]] = []

    @property
    def issues(self) -> tuple[Issue, ...]:
        """All tickets, oldest first."""
        with self._settled():
            return tuple(self._issues.values())

    def issues_with(self, marker: str) -> tuple[Issue, ...]:
        """Return the tickets with the marker as a label or in their entity property."""
        return tuple(issue for issue in self.issues if issue.carries(marker))

    def find(self, id_or_key: str) -> Issue | None:
        """Find a ticket as it is now, by its id or any key that it ever had."""
        with self._settled():
            return self._issues.get(self._id_by_key.get(id_or_key.upper(), id_or_key))

    def search(self, query: Query) -> Iterator[Issue]:
        """Yield the tickets in the index, newest first; the index lags, also behind deletions."""
        with self._settled() as now:
            ids = list(self._versions) if query.label is None else list(self._ids_by_label[query.label])
        for issue_id in reversed(ids):
            issue = self._indexed(issue_id, now)
            if issue and query.matches(issue):
                yield issue

    def commit(self, draft: Draft) -> Issue:
        """Make the ticket now."""
        with self._settled() as now:
            return self._commit(draft, now)

    def commit_later(self, draft: Draft, seconds: float) -> None:
        """Make the ticket after ``seconds``; it gets its id and key then."""
        with self._settled() as now:
            self._do_later(now + seconds, lambda due: self._commit(draft, due))

    def _do_later(self, due: float, do: Callable[[float], object]) -> None:
        heapq.heappush(self._late, (due, next(self._late_order), do))

    def move(self, key: str, project: str) -> Issue:
        """Move a ticket to another project and a new key. Raises ``KeyError`` where either is unknown."""
        with self._settled() as now:
            issue, _ = self._issues[self._id_by_key[key]], self.projects[project]
            return self._keep(replace(issue, project=project, number=self._next_number(project)), now)

    def strip_label(self, key: str, label: str) -> Issue:
        """Remove a label from a ticket. Raises ``KeyError`` for an unknown key."""
        with self._settled() as now:
            issue = self._issues[self._id_by_key[key]]
            left = tuple(other for other in issue.labels if other != label)
            return self._keep(replace(issue, labels=left), now)

    def delete(self, key: str) -> None:
        """Delete a ticket; its number is not used again. Raises ``KeyError`` for an unknown key."""
        with self._settled() as now:
            issue = self._issues.pop(self._id_by_key[key])
            self._versions[issue.id].append((now, None))

    def skip_keys(self, count: int, project: str | None = None) -> None:
        """Leave a gap in the numbers of ``project``, the first one by default."""
        with self._settled():
            self._last_numbers[project or next(iter(self.projects))] += count

    @contextmanager
    def _settled(self) -> Iterator[float]:
        """Lock the store, carry out the late changes that are due by now, in order, and yield the time."""
        with self._lock:
            now = self.clock()
            while self._late and self._late[0][0] <= now:
                due, _, do = heapq.heappop(self._late)
                do(due)
            yield now

    def _commit(self, draft: Draft, at: float) -> Issue:
        issue_id = str(next(self._ids))
        for label in dict.fromkeys(draft.labels):
            self._ids_by_label[label].append(issue_id)
        return self._keep(Issue.made_of(draft, issue_id, self._next_number(draft.project), at), at)

    def _next_number(self, project: str) -> int:
        self._last_numbers[project] += 1
        return self._last_numbers[project]

    def _change(self, issue_id: str, later: float, change: Callable[[Issue, float], Issue]) -> None:
        """Change a ticket now, or ``later`` by so many seconds, if it exists then."""

        def make(at: float) -> None:
            if issue := self._issues.get(issue_id):
                self._keep(change(issue, at), at)

        with self._settled() as now:
            if later > 0:
                self._do_later(now + later, make)
            else:
                make(now)

    def _keep(self, issue: Issue, at: float) -> Issue:
        self._issues[issue.id] = issue
        self._id_by_key[issue.key] = issue.id
        self._versions.setdefault(issue.id, []).append((at, issue))
        return issue

    def _indexed(self, issue_id: str, now: float) -> Issue | None:
        """Return the version of a ticket in the index; None if it has none."""
        with self._lock:
            for at, version in reversed(self._versions[issue_id]):
                if at + self.search_lag <= now:
                    return version
        return None
