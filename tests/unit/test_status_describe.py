"""Text of a status message, for each state of its sync."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args
from uuid import UUID

import pytest

from threadsync.reasons import REASONS
from threadsync.syncs import MadeWith, Origin, SyncState, SyncStatus
from worker.status_message.describe import can_be_retried, describe
from worker.text.slack_names import FIX_BUTTON, RETRY_BUTTON
from worker.text.slack_text import escape

SESSION_ID = UUID("01936f2e-7f00-7000-8000-000000000001")
NOON = datetime(2026, 11, 25, 12, 4, tzinfo=UTC)
JIRA = "https://jira.example/"
AT_NOON = f"at <!date^{int(NOON.timestamp())}^{{time}}|12:04 UTC>"
LINK = "<https://jira.example/browse/PROJ-1|PROJ-1>"


def sync(state: SyncStatus, reason: str | None = None, **given: Any) -> SyncState:
    values: dict[str, Any] = {
        "session_id": SESSION_ID,
        "channel_id": "C0123",
        "thread_ts": "1700000000.000100",
        "parked": False,
        "attempts": 1,
        "next_attempt_at": NOON,
        "jira_key": None,
        "origin": None,
        "duplicates": (),
        "requested_at": NOON,
        "updated_at": NOON,
    }
    return SyncState(state=state, reason=reason, **{**values, **given})


def done(origin: Origin, **given: Any) -> SyncState:
    return sync("done", jira_key="PROJ-1", origin=origin, next_attempt_at=None, **given)


@pytest.mark.parametrize(
    ("of", "text", "has_button"),
    [
        (sync("pending"), "*Queued.* The Jira ticket will be created next.", False),
        (sync("pending", "create_again"), "*Queued.* The last attempt certainly created no ticket", False),
        (sync("inflight"), "*Creating the Jira ticket.*", False),
        (
            sync("retry_wait", "rate_limit"),
            f"*Not created yet.* Next attempt {AT_NOON}, because Jira asks",
            False,
        ),
        (sync("unknown", "no_answer"), f"*Confirming with Jira.* Next look {AT_NOON}, because Jira", False),
        (
            sync("unknown", "worker_died"),
            f"*Confirming with Jira.* Next look {AT_NOON}, because the w",
            False,
        ),
        (sync("blocked", "no_access", parked=True), "*Needs attention:* Jira rejects the", True),
        (sync("blocked", "set_up"), "*Needs attention:* Jira's configuration does not allow", True),
        (sync("failed", "draft_refused"), "*Needs another draft:* Jira refused the draft.", False),
        (sync("failed", "given_up"), "*No ticket:* an operator gave it up.", True),
        (sync("review", "kept_failing"), "*Needs attention:* it failed for 24 hours.", True),
        (sync("review", "two_tickets", jira_key="PROJ-1"), "then retry. The thread has " + LINK, True),
        (done("created"), f"*Created* {LINK}.", False),
        (done("found"), f"*Linked* to {LINK}, which was already in Jira", False),
        (done("named"), f"*Linked* to {LINK}, which a person named", False),
        (
            done("created", duplicates=("PROJ-2",)),
            "> also carry this thread's marker.",
            False,
        ),
    ],
    ids=lambda value: value.summary() if isinstance(value, SyncState) else "",
)
def test_each_state_has_its_words(of: SyncState, text: str, has_button: bool) -> None:
    """Each state has its text, and a retry button where trying again may help."""
    message = describe(of, JIRA)
    assert text in message.text
    assert message.blocks[0]["text"] == {"type": "mrkdwn", "text": message.text}
    buttons = [item for block in message.blocks for item in block.get("elements", ())]
    retries = [item for item in buttons if item["action_id"] != FIX_BUTTON]
    assert [(item["action_id"], item["value"]) for item in retries] == (
        [(RETRY_BUTTON, str(SESSION_ID))] if has_button else []
    )


@pytest.mark.parametrize(
    ("of", "fixes"),
    [
        (sync("failed", "draft_refused"), True),
        (sync("failed", "draft_expired"), True),
        (sync("blocked", "set_up"), True),
        (sync("blocked", "not_found"), True),
        (sync("blocked", "no_project"), True),
        (sync("blocked", "not_found", parked=True), False),
        (sync("blocked", "no_access"), False),
        (sync("failed", "given_up"), False),
        (sync("review", "kept_failing"), False),
        (sync("pending"), False),
        (done("created"), False),
    ],
    ids=lambda value: value.summary() if isinstance(value, SyncState) else "",
)
def test_another_draft_is_offered_where_it_may_help(of: SyncState, fixes: bool) -> None:
    """Where another draft may help, a button opens the form with it, and the text says so."""
    message = describe(of, JIRA)
    buttons = [item for block in message.blocks for item in block.get("elements", ())]
    values = [item["value"] for item in buttons if item["action_id"] == FIX_BUTTON]
    assert values == ([str(SESSION_ID)] if fixes else [])
    assert ("_Fix_" in message.text) == fixes


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("state", get_args(SyncStatus))
def test_every_reason_reads_well_in_every_state(state: SyncStatus, reason: str) -> None:
    """Every reason makes a complete and short text in every state."""
    text = describe(sync(state, reason), JIRA).text
    assert "None" not in text
    assert "  " not in text
    assert len(text) < 3000


MADE = MadeWith(project_key="OPS", project_from="channel", issue_type="R&D", issue_type_from="settings")


@pytest.mark.parametrize(
    ("of", "text"),
    [
        (
            done("created", made_with=MADE),
            " Made with project OPS from the channel's settings, "
            "type R&amp;D from the settings of the installation.",
        ),
        (
            sync("blocked", "not_found", made_with=MADE.model_copy(update={"issue_type_from": "channel"})),
            " Tried with project OPS and type R&amp;D from the channel's settings.",
        ),
        (
            sync(
                "failed",
                "draft_refused",
                made_with=MadeWith(project_key="OPS", project_from="draft", issue_type_from="draft"),
            ),
            " Tried with project OPS and type from the draft.",
        ),
    ],
)
def test_a_message_says_what_the_ticket_was_made_with(of: SyncState, text: str) -> None:
    """A message that lasts says project and type, and where each comes from."""
    assert describe(of, JIRA).text.endswith(text)


def test_of_a_ticket_that_a_person_named_nothing_is_known() -> None:
    """Nothing is said of a ticket that a person named, nor while the create is under way or given up."""
    for of in (done("named"), sync("inflight"), sync("unknown", "no_answer"), sync("failed", "given_up")):
        said = of.model_copy(update={"made_with": MADE})
        assert describe(said, JIRA).text == describe(of, JIRA).text


def test_without_an_address_a_ticket_is_no_link() -> None:
    """A ticket is shown without a link where the worker knows no Jira address."""
    assert describe(done("created"), None).text == "*Created* *PROJ-1*."


def test_a_reason_of_a_newer_worker_is_shown_as_it_is() -> None:
    """A reason of a newer worker is shown as it is, escaped so that it mentions and links nothing."""
    text = describe(sync("blocked", "<!channel> & co"), JIRA).text
    assert text == "*Needs attention:* &lt;!channel&gt; &amp; co"
    assert escape("a < b") == "a &lt; b"


def test_nothing_to_retry_with_the_draft_that_was_refused() -> None:
    """A refused draft has no retry button, and every blocked sync has one."""
    assert not can_be_retried(sync("failed", "draft_refused"))
    assert all(can_be_retried(sync("blocked", reason)) for reason in REASONS)


def test_the_fingerprint_tells_messages_apart() -> None:
    """The fingerprint is the same for the same state, and another when a word or the button changes."""
    assert describe(sync("pending"), JIRA).fingerprint == describe(sync("pending"), JIRA).fingerprint
    others = [sync("pending"), sync("inflight"), sync("blocked", "set_up"), done("found"), done("named")]
    assert len({describe(item, JIRA).fingerprint for item in others}) == len(others)


def test_a_ticket_is_linked_where_it_was_made() -> None:
    """A ticket is linked on the site where it was made, also under another JIRA_URL."""
    old = done("created").model_copy(update={"site": "old.example/jira"})
    assert "https://old.example/jira/browse/" in describe(old, "https://new.example").text
    assert (
        "https://new.example/browse/"
        in describe(old.model_copy(update={"site": "new.example"}), "https://new.example").text
    )
    assert "browse" not in describe(old, None).text
