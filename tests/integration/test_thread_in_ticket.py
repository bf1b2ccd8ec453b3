"""The thread in the ticket: permalink, text and files, each once, whatever fails and wherever workers die."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any, Literal

import pytest

from sandbox.chaos.interruptions import Interruption
from tests.support.forgetting import dump
from tests.support.scale import bounded
from tests.support.thread_servers import CANARY, TicketFault
from tests.support.thread_world import CONTENT, SETTLE, ThreadWorld, new_world, with_files
from worker.db.pool import Pool
from worker.thread.lookup import Names
from worker.thread.slack import SlackReader
from worker.thread.work import PROPERTY


def text_of(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False)


def assert_all_is_there(world: ThreadWorld) -> None:
    """Check that the comment, the attachment and both good files are there once, in order."""
    assert sorted(world.tickets.names) == sorted(
        ["F1-plan 1.pdf", "F2-plan 2.pdf", f"thread-{world.detail().marker}.txt"]
    )
    contents = {name: content for _, name, content in world.tickets.attachments}
    assert contents["F1-plan 1.pdf"] == contents["F2-plan 2.pdf"] == CONTENT
    whole = contents[f"thread-{world.detail().marker}.txt"].decode()
    places = [whole.find(f"word{number}end") for number in range(1, 450)]
    assert -1 not in places
    assert places == sorted(places)
    ((_, body, properties),) = world.tickets.comments
    assert properties == {PROPERTY: {"marker": world.detail().marker, "cut": True}}
    shown = text_of(body)
    assert "word1end" in shown
    assert "word449end" not in shown
    assert f"thread-{world.detail().marker}.txt" in shown
    assert "plan 3.pdf: Slack sent a web page in its place" in shown
    assert "plan 1.pdf:" not in shown


def test_a_long_thread_with_files_is_in_the_ticket(pool: Pool, database_url: str) -> None:
    """A thread of 450 messages and three files is in the ticket, in order, and in no table."""
    with new_world(pool, "files") as world:
        with_files(world)
        world.make()
        world.follow_until_over()
        assert_all_is_there(world)
        assert world.states() == {
            "link": "done",
            "plan": "done",
            "F1": "done",
            "F2": "done",
            "F3": "given up: sign in",
            "attachment": "done",
            "thread": "done",
        }
        assert CANARY not in dump(database_url)


@pytest.mark.bounded
def test_a_worker_that_dies_anywhere_writes_nothing_twice(pool: Pool) -> None:
    """A worker that dies before or after any of its calls leaves each text and file there once."""
    with new_world(pool, "files") as world:
        with_files(world)
        world.make()
        counts = []
        while world.open_steps():
            counts.append(world.follow().count)
            world.clock.advance(30)
    # The first runs have all kinds of steps in them.
    most = max(counts)
    whens: tuple[Literal["before", "after"], ...] = ("before", "after")
    for dies_at, when in itertools.product(range(1, most + 1, bounded(1, 6)), whens):
        with new_world(pool, "files") as world:
            with_files(world)
            world.make()
            world.follow(Interruption(dies_at, when, "crash"))
            world.clock.advance(200)
            world.follow(Interruption(max(dies_at // 2, 1), when, "crash"))
            world.clock.advance(200)
            world.follow_until_over()
            assert_all_is_there(world)


@pytest.mark.parametrize(
    ("fault", "late"),
    [
        *(("late", late) for late in (0, 1, SETTLE - 20)),
        *((fault, 0) for fault in ("answer lost", "never arrives", "429", "503", "403", "page")),
    ],
)
def test_whatever_becomes_of_a_write_it_is_there_once(pool: Pool, fault: TicketFault, late: float) -> None:
    """A comment, an upload and a link without a clear answer are each there once in the end."""
    with new_world(pool, "files") as world:
        with_files(world)
        world.make()
        world.tickets.lateness = late
        world.tickets.faults = {
            "comment": [fault, "answer lost"],
            "attachments": [fault, fault, "answer lost"],
            "remotelink": [fault],
        }
        world.follow_until_over()
        assert_all_is_there(world)
        assert len(world.tickets.links) == 1


def test_a_look_that_fails_writes_nothing(pool: Pool) -> None:
    """While the ticket cannot be looked at, nothing is written to it a second time."""
    with new_world(pool) as world:
        world.make()
        world.tickets.faults = {"comment": ["answer lost"]}
        for _ in range(5):
            world.follow()
            world.tickets.blind = 1
            world.clock.advance(60)
        world.tickets.blind = 0
        world.follow_until_over()
        assert len(world.tickets.comments) == 1


def test_the_link_is_the_permalink(pool: Pool) -> None:
    """The remote link has the permalink that Slack names, in place of the redirect."""
    with new_world(pool, "link") as world:
        world.make()
        world.follow_until_over()
        channel, ts = world.thread
        assert world.tickets.links == {
            f"threadsync={world.detail().marker}": (
                f"https://acme.slack.com/archives/{channel}/p{ts.replace('.', '')}"
            )
        }
        assert (world.tickets.comments, world.tickets.attachments) == ([], [])
        assert world.states() == {"link": "done", "plan": "done"}


def test_a_ticket_that_a_person_linked_gets_the_permalink_alone(pool: Pool) -> None:
    """A ticket that a person linked gets the permalink, and neither text nor files."""
    with new_world(pool, "files") as world:
        with_files(world)
        world.link("PROJ-77")
        world.clock.advance(60)
        world.follow_until_over()
        assert world.link_of_the_ticket().startswith("https://acme.slack.com/archives/")
        assert (world.tickets.comments, world.tickets.attachments) == ([], [])


def test_slack_that_is_away_is_waited_for(pool: Pool) -> None:
    """While Slack is away the ticket has a link that leads to the thread; the rest comes when it is back."""
    with new_world(pool) as world:
        world.make()
        world.thread_slack.away = 3
        world.follow()
        assert world.link_of_the_ticket().startswith("https://slack.com/app_redirect?")
        world.thread_slack.busy = 2
        world.follow_until_over()
        assert world.link_of_the_ticket().startswith("https://acme.slack.com/")
        ((_, body, properties),) = world.tickets.comments
        assert properties[PROPERTY]["cut"] is False
        assert f"The export {CANARY} stops" in text_of(body)
        assert "Ann" in text_of(body)


def test_without_scopes_the_comment_says_what_is_missing(pool: Pool) -> None:
    """Without users:read people are shown by their ids, without files:read no file is copied; it says so."""
    with new_world(pool, "files") as world:
        world.thread_slack.missing = {"users:read", "files:read"}
        world.thread_slack.messages[0]["files"] = [world.thread_slack.add_file("F1", "plan.pdf", CONTENT)]
        world.make()
        world.follow_until_over()
        ((_, body, _),) = world.tickets.comments
        assert "plan.pdf: the Slack app lacks the scope files:read" in text_of(body)
        assert "lacks the scope users:read" in text_of(body)
        assert '"U1"' in text_of(body)
        assert world.tickets.attachments == []


@pytest.mark.parametrize(
    ("fault", "status", "fields"), [("400", 400, ("comment",)), ("413", 413, ("comment",))]
)
def test_a_refusal_is_kept_without_its_words(
    pool: Pool, database_url: str, fault: TicketFault, status: int, fields: tuple[str, ...]
) -> None:
    """Of a refusal only the status and the names of fields are kept."""
    with new_world(pool) as world:
        world.make()
        world.tickets.faults = {"comment": [fault]}
        world.follow_until_over()
        (step,) = (step for step in world.steps() if step.step == "thread")
        assert (step.given_up, step.http_status, step.fields) == ("rejected", status, fields)
        assert CANARY not in dump(database_url)


def test_a_file_that_jira_refuses_is_named_in_the_comment(pool: Pool) -> None:
    """A file that Jira refuses does not hold up the others, and the comment names it."""
    with new_world(pool, "files") as world:
        world.thread_slack.messages[0]["files"] = [
            world.thread_slack.add_file(name, f"{name}.pdf", CONTENT) for name in ("F1", "F2")
        ]
        world.make()
        world.tickets.faults = {"attachments": ["413"]}
        world.follow_until_over()
        ((_, body, _),) = world.tickets.comments
        (copied,) = world.tickets.names
        refused = {"F1-F1.pdf": "F2.pdf", "F2-F2.pdf": "F1.pdf"}[copied]
        assert f"{refused}: Jira did not accept it" in text_of(body)


class Broken(Names):
    """Names that meet a fault of ours."""

    def of(self, ids: Iterable[str], slack: SlackReader) -> dict[str, str]:
        raise ValueError(f"{CANARY} in {list(ids)}")


def test_a_fault_of_ours_quotes_nothing_and_is_tried_again(
    pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fault in reading a thread puts the step off without a word of the thread in the log."""
    with new_world(pool) as world:
        world.make()
        names, world.names = world.names, Broken()
        for _ in range(3):
            world.follow()
            world.clock.advance(60)
        assert "waiting after" in world.states()["thread"]
        world.names = names
        world.follow_until_over()
        assert len(world.tickets.comments) == 1
    told = capsys.readouterr()
    assert CANARY not in told.out + told.err


def test_an_unlink_ends_what_follows(pool: Pool) -> None:
    """Nothing of the thread is written to a ticket that was unlinked."""
    with new_world(pool) as world:
        world.make()
        world.unlink()
        world.follow_until_over()
        assert (world.tickets.comments, world.tickets.links) == ([], {})


def test_after_a_day_it_is_given_up_and_shown(pool: Pool) -> None:
    """What fails for a day is given up, and the sync shows it."""
    with new_world(pool) as world:
        world.make()
        fault: TicketFault = "403"
        world.tickets.faults = {"comment": [fault for _ in range(500)]}
        for _ in range(110):
            world.follow()
            world.clock.advance(900)
        (step,) = (step for step in world.detail().steps if step.step == "thread")
        assert (step.state, step.http_status) == ("given up: kept failing", 403)


def test_without_workers_for_days_it_is_done_afterwards(pool: Pool) -> None:
    """What no worker could try for days is done when one is back."""
    with new_world(pool) as world:
        world.make()
        world.clock.advance(3 * 86_400)
        world.follow_until_over()
        assert set(world.states().values()) == {"done"}
        assert len(world.tickets.comments) == 1


def test_what_jira_did_not_let_us_try_is_done_afterwards(pool: Pool) -> None:
    """A step that Jira's pauses keep back for days is done when they end."""
    with new_world(pool) as world:
        world.make()
        for _ in range(72):
            world.store.pause_site(world.target.site, 3_600)
            world.follow()
            world.clock.advance(3_590)
        assert world.tickets.comments == []
        world.clock.advance(3_700)
        world.follow_until_over()
        assert set(world.states().values()) == {"done"}
        assert len(world.tickets.comments) == 1


def test_a_ticket_that_was_deleted_ends_its_steps(pool: Pool) -> None:
    """The steps of a deleted ticket end."""
    with new_world(pool) as world:
        world.make()
        world.tickets.gone = True
        world.follow_until_over()
        assert world.states()["thread"] == world.states()["link"] == "given up: ticket gone"
