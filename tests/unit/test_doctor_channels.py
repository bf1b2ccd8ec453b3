"""The doctor's verdicts on the settings of channels."""

from __future__ import annotations

from threadsync.channel_settings.values import read_settings
from worker.doctor.channels import judge


def test_good_settings_pass() -> None:
    """Settings without a fault pass, and so does none at all."""
    found = [("C1", read_settings({"threadsync": {"include": "text"}}))]
    assert [finding.level for finding in judge(found)] == ["ok", "ok"]
    assert [finding.level for finding in judge([])] == ["ok", "ok"]


def test_junk_is_named_without_being_quoted() -> None:
    """A value that counts as absent is a warning with its channel and member, not with the value."""
    found = [
        (f"C{number}", read_settings({"threadsync": {"labels": "canary", "project_key": 7}}))
        for number in range(4)
    ]
    warned, verified = judge(found)
    assert (warned.level, verified.level) == ("warning", "ok")
    assert "C0: threadsync.labels is not 1 to 10 labels" in warned.message
    assert warned.message.endswith("; and 3 more")
    assert "canary" not in warned.message
    assert "threadsync channels set" in warned.fix


def test_what_jira_has_not_confirmed_is_named() -> None:
    """An unverified setting is named, and is no fault."""
    member = {"project_key": "OPS", "unverified": {"project_key": True}}
    ok, unverified = judge([("C1", read_settings({"threadsync": member}))])
    assert (ok.level, unverified.level) == ("ok", "info")
    assert "C1: project_key" in unverified.message
