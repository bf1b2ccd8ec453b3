"""The doctor on reporters: where Jira did not take the requester, or the ticket was then hidden."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import pytest

from threadsync.config import load_settings
from worker.db.reporters.store import ReporterProblem
from worker.doctor.reporter import examine_reporter, judge

NOW: Final = datetime(2026, 3, 1, tzinfo=UTC)
HIDDEN: Final = ReporterProblem("PROJ", "hidden", "10007", NOW)
REFUSED: Final = ReporterProblem("OPS", "refused", None, NOW)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ((), [("ok", "the requester")]),
        ((HIDDEN,), [("warning", "PROJ (id 10007)")]),
        ((REFUSED,), [("warning", "OPS (2026-03-01)")]),
        ((REFUSED, HIDDEN), [("warning", "PROJ (id 10007)"), ("warning", "OPS (2026-03-01)")]),
        ((REFUSED,) * 7, [("warning", "and 2 more")]),
    ],
    ids=["none", "hidden", "refused", "both", "many"],
)
def test_the_projects_are_named(found: tuple[ReporterProblem, ...], expected: list[tuple[str, str]]) -> None:
    """Each kind of problem is a warning that names its projects, a hidden ticket, and what helps."""
    findings = list(judge(found))
    assert [finding.level for finding in findings] == [level for level, _ in expected]
    for finding, (level, words) in zip(findings, expected, strict=True):
        assert words in finding.message
        assert (level == "ok") or "JIRA_REPORTER=account" in (finding.fix or "")


@pytest.mark.parametrize(
    "values",
    [{}, {"JIRA_REPORTER": "requester"}, {"JIRA_REPORTER": "requester", "JIRA_URL": "https://x.example"}],
    ids=["by default", "without a Jira", "without a database"],
)
def test_without_reporters_nothing_is_asked(values: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody is named, or there is no database, the check is skipped."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert [finding.level for finding in examine_reporter(load_settings())] == ["skipped"]
