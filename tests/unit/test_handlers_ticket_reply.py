"""Effects of `/ticket …` and its replies."""

from __future__ import annotations

import time
from typing import Any

import pytest

from handlers import replies
from handlers.ticket_reply import REPLY_SECONDS, Reply, reply_to_ticket_command
from sandbox.slack.requests import slash_command
from tests.support.slack_app import CHANNEL, NEVER, THREAD, USER, RecordingClient, page, result, session
from threadsync.actors import SlackActor
from threadsync.command import Command
from threadsync.commands import GetSession, ListByChannel, Unlink, UpdateStatus
from threadsync.errors import JiraKeyConflict, SessionNotFound
from threadsync.lookup_commands import LinkAnswer, LinkLookup, LinkOutcome
from threadsync.sessions import ThreadSession

ANN = SlackActor(user_id=USER, team_id="T0SANDBOX")
READY = ("UpdateStatus", THREAD, None)
LINK = ("LinkLookup", THREAD, "PROJ-1")


class Channel:
    """A channel's sessions, with the results that the worker would return for them."""

    def __init__(self, *sessions: ThreadSession, change: Any = None, knows: LinkOutcome = "sent") -> None:
        self.sessions = sessions
        self.knows = knows
        self.change = change

    def __call__(self, command: Command[Any]) -> Any:
        match command:
            case ListByChannel(status=status, limit=limit):
                fitting = [item for item in self.sessions if status in (None, item.status)]
                return page(*fitting[:limit], more=len(fitting) > limit)
            case GetSession(thread_ts=thread_ts):
                return next((item for item in self.sessions if item.thread_ts == thread_ts), None)
            case LinkLookup(jira_key=key):
                return LinkAnswer(outcome=self.knows, jira_key=key)
            case _:
                return self.change


async def ask(text: str, client: RecordingClient) -> Reply:
    return await reply_to_ticket_command(client, slash_command(text, CHANNEL, USER), actor=ANN)


def changes(client: RecordingClient) -> list[tuple[str, str, str | None]]:
    """Return the commands that change something (kind, thread, key); check that each has the actor."""
    changing = [item for item in client.commands if isinstance(item, UpdateStatus | LinkLookup | Unlink)]
    assert all(command.actor == ANN for command in changing)
    return [(type(item).__name__, item.thread_ts, getattr(item, "jira_key", None)) for item in changing]


async def test_help_and_the_unknown_ask_the_worker_nothing() -> None:
    """Help and unknown verbs are replied to with the help, and send no command."""
    client = RecordingClient()
    for text in ("help", "", "frobnicate"):
        assert (await ask(text, client)).text == replies.HELP
    assert client.commands == []


async def test_status_lists_the_newest_sessions() -> None:
    """`status` lists the ten newest sessions, with state and key."""
    sessions = [session(f"170000000{number}.000100") for number in range(8)]
    sessions += [session(THREAD, "synced", "PROJ-7")] * 4
    text = (await ask("status", RecordingClient(Channel(*sessions)))).text
    assert len(text.splitlines()) == 11
    assert "PROJ-7" in text
    assert "older" in text


async def test_status_of_one_thread() -> None:
    """`status` of one thread tells its state, or that there is no session."""
    client = RecordingClient(Channel(session(status="ready_to_sync")))
    assert "ready for a ticket" in (await ask(f"status {THREAD}", client)).text
    assert "do not keep track" in (await ask("status 1600000000.000100", client)).text


@pytest.mark.parametrize(
    ("text", "expected", "change"),
    [
        (f"ready {THREAD}", READY, result("applied", status="ready_to_sync")),
        (f"link proj-1 {THREAD}", LINK, result("applied", status="synced", jira_key="PROJ-1")),
    ],
)
async def test_a_named_thread_is_changed_without_looking(
    text: str, expected: tuple[str, str, str | None], change: Any
) -> None:
    """A named thread is changed by one command, without a list of sessions."""
    client = RecordingClient(Channel(change=change))
    answer = await ask(text, client)
    assert changes(client) == [expected]
    assert len(client.commands) == 1
    assert answer.pending is None
    assert "ticket" in answer.text


@pytest.mark.parametrize(
    ("text", "open_session", "expected"),
    [
        ("ready", session(THREAD, "collecting"), READY),
        ("link PROJ-1", session(THREAD, "collecting"), LINK),
        ("link PROJ-1", session(THREAD, "ready_to_sync"), LINK),
    ],
)
async def test_without_a_thread_the_only_fitting_session_is_taken(
    text: str, open_session: ThreadSession, expected: tuple[str, str, str | None]
) -> None:
    """The only session that fits is changed where no thread is named; those with a ticket do not count."""
    done = session("1600000000.000100", "synced", "PROJ-9")
    channel = Channel(done, open_session, change=result("applied", status="ready_to_sync", jira_key=None))
    client = RecordingClient(channel)
    await ask(text, client)
    assert changes(client) == [expected]


@pytest.mark.parametrize("text", ["ready", "link PROJ-1"])
async def test_several_fitting_sessions_are_listed_and_nothing_is_changed(text: str) -> None:
    """Several sessions that fit are listed, and none is changed."""
    client = RecordingClient(Channel(session(), session("1700000001.000200")))
    answer = await ask(text, client)
    assert changes(client) == []
    assert "1700000001.000200" in answer.text
    assert THREAD in answer.text


@pytest.mark.parametrize("sessions", [(), (session(status="synced", jira_key="PROJ-9"),)])
async def test_no_fitting_session_is_said(sessions: tuple[ThreadSession, ...]) -> None:
    """The reply says that no session fits, and nothing is changed."""
    client = RecordingClient(Channel(*sessions))
    assert "Nothing changed" in (await ask("ready", client)).text
    assert changes(client) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (JiraKeyConflict(CHANNEL, THREAD, "PROJ-9", "PROJ-1"), "already has *PROJ-9*"),
        (SessionNotFound(CHANNEL, THREAD), "do not keep track"),
    ],
)
async def test_a_refusal_is_put_in_words(error: Exception, words: str) -> None:
    """A refusal is put in words that tell how the session stands."""
    client = RecordingClient(Channel(change=error))
    assert words in (await ask(f"link PROJ-1 {THREAD}", client)).text


async def test_an_unclear_command_is_answered_and_not_sent() -> None:
    """An unclear command is replied to with a sentence, and not sent."""
    client = RecordingClient()
    assert "PROJ-123" in (await ask("link nonsense", client)).text
    assert client.commands == []


@pytest.mark.parametrize("text", ["status", "ready", f"ready {THREAD}", f"link PROJ-1 {THREAD}"])
async def test_with_the_broker_away_the_user_is_asked_to_try_again(text: str) -> None:
    """The user is asked to try again while the broker is away, because Slack does not repeat a command."""
    client = RecordingClient()
    client.down = True
    assert (await ask(text, client)).text == replies.TRY_AGAIN


async def test_a_slow_worker_costs_at_most_the_time_that_slack_gives() -> None:
    """A slow worker delays the reply at most as long as Slack waits; a change is reported as queued."""
    started = time.monotonic()
    client = RecordingClient(lambda command: NEVER)
    queued = await ask(f"ready {THREAD}", client)
    assert (queued.text, queued.pending is not None) == (replies.QUEUED, True)
    assert time.monotonic() - started < REPLY_SECONDS
    started = time.monotonic()
    assert (await ask("link PROJ-1", client)).text == replies.NOTHING_CHANGED_YET
    assert time.monotonic() - started < REPLY_SECONDS
    assert changes(client) == [READY]


@pytest.mark.parametrize(
    ("knows", "words"),
    [
        ("no_such_ticket", "has no ticket *FAKE-999999*"),
        ("no_answer", "is not responding"),
        ("refused", "does not let me look"),
        ("not_configured", "no Jira is configured"),
    ],
)
async def test_what_jira_does_not_know_is_not_linked(knows: LinkOutcome, words: str) -> None:
    """A ticket that Jira does not confirm is not linked, and the reply says why."""
    client = RecordingClient(Channel(session(), knows=knows))
    text = (await ask(f"link FAKE-999999 {THREAD}", client)).text
    assert text.startswith("Not linked")
    assert words in text
    assert changes(client) == [("LinkLookup", THREAD, "FAKE-999999")]


async def test_a_slow_jira_is_told_later() -> None:
    """A slow Jira leads to a reply that a later one will follow."""
    client = RecordingClient(lambda command: NEVER)
    answer = await ask(f"link PROJ-1 {THREAD}", client)
    assert (answer.text, answer.pending) == (replies.ASKING_JIRA, None)
    assert answer.asked is not None


@pytest.mark.parametrize("text", [f"unlink {THREAD} the wrong one", f"unlink PROJ-7 the wrong one {THREAD}"])
async def test_unlink_takes_off_what_the_thread_has(text: str) -> None:
    """`unlink` removes the thread's ticket, with the reason and the present time."""
    client = RecordingClient(Channel(session(THREAD, "synced", "PROJ-7"), change=result("applied")))
    started = time.time()
    assert (await ask(text, client)).text.startswith("Done")
    assert changes(client) == [("Unlink", THREAD, "PROJ-7")]
    command = client.commands[-1]
    assert isinstance(command, Unlink)
    assert command.reason == "the wrong one"
    assert started - 1 <= float(command.unlinked_at or 0) <= time.time()


async def test_unlink_takes_the_only_thread_that_has_the_ticket() -> None:
    """`unlink` with a key takes the only thread that has this ticket; without a key it lists the threads."""
    sessions = (session(THREAD, "synced", "PROJ-7"), session("1700000001.000200", "synced", "PROJ-8"))
    client = RecordingClient(Channel(*sessions, change=result("applied")))
    await ask("unlink PROJ-7 the wrong one", client)
    assert changes(client) == [("Unlink", THREAD, "PROJ-7")]
    which = (await ask("unlink the wrong one", RecordingClient(Channel(*sessions)))).text
    assert f"`/ticket unlink {THREAD} the wrong one`" in which


async def test_unlink_of_what_has_no_ticket_changes_nothing() -> None:
    """`unlink` changes nothing where the ticket is missing or another one, and says so."""
    client = RecordingClient(Channel(session()))
    assert (await ask(f"unlink {THREAD} because", client)).text == replies.NO_TICKET
    assert "newest threads has a ticket" in (await ask("unlink because", client)).text
    stale = RecordingClient(
        Channel(session(THREAD, "synced", "PROJ-7"), change=result("stale", THREAD, "synced", "PROJ-8"))
    )
    assert "has the ticket *PROJ-8*" in (await ask(f"unlink {THREAD} because", stale)).text
    assert changes(client) == []


async def test_without_an_actor_nothing_is_linked() -> None:
    """A link without an actor is refused, although Slack always names one."""
    client = RecordingClient(Channel(session()))
    form = slash_command(f"link PROJ-1 {THREAD}", CHANNEL, USER)
    assert (await reply_to_ticket_command(client, form)).text == replies.NO_ACTOR
    assert client.commands == []
