"""User groups as Slack tells them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from slack_sdk.errors import SlackClientError

from handlers import user_groups
from handlers.bot_identity import USERS_READ, Identity
from handlers.members import Members
from handlers.user_groups import USERGROUPS_READ, UserGroups, members_of
from threadsync.actors import SlackActor

GRANTED = Identity(team_id="T1", scopes=frozenset({USERGROUPS_READ}))
ANSWER = {"usergroups": [{"id": "S1", "users": ["U1", "U2"]}, {"id": "S2", "users": ["U1"]}]}


class Slack:
    """Slack's answers to ``usergroups.list``, one after the other; the last one again and again."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls = 0
        self.web = SimpleNamespace(usergroups_list=self._list)

    async def _list(self, *, include_users: bool) -> Any:
        assert include_users
        self.calls += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            return ANSWER
        return answer


def groups_of(slack: Any) -> UserGroups:
    return UserGroups(slack)


async def test_a_persons_groups() -> None:
    """One question tells the groups of every person; who is in none has an empty list."""
    slack = Slack(ANSWER)
    groups = groups_of(slack)
    assert await groups.of("U1", GRANTED) == ("S1", "S2")
    assert await groups.of("U2", GRANTED) == ("S1",)
    assert await groups.of("U3", GRANTED) == ()
    assert slack.calls == 1


async def test_without_the_scope_nothing_is_asked() -> None:
    """Without the scope nothing is asked, and no groups are known."""
    slack = Slack(ANSWER)
    assert await groups_of(slack).of("U1", Identity(team_id="T1")) is None
    assert slack.calls == 0


async def test_while_slack_does_not_answer_none_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal leaves the groups unknown, and is asked about again only after a pause."""
    slack = Slack(SlackClientError("no"), ANSWER)
    groups = groups_of(slack)
    assert await groups.of("U1", GRANTED) is None
    assert await groups.of("U1", GRANTED) is None
    assert slack.calls == 1
    monkeypatch.setattr(groups, "_ask_at", 0.0)
    assert await groups.of("U1", GRANTED) == ("S1", "S2")


async def test_what_is_old_holds_until_the_next_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """After five minutes Slack is asked again; nobody waits for it, and the next person gets its answer."""
    slack = Slack(ANSWER, {"usergroups": []})
    groups = groups_of(slack)
    await groups.of("U1", GRANTED)
    monkeypatch.setattr(groups, "_ask_at", 0.0)
    assert await groups.of("U1", GRANTED) == ("S1", "S2")
    assert groups._asking is not None
    await groups._asking
    assert await groups.of("U1", GRANTED) == ()


async def test_a_slack_that_hangs_holds_up_no_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first question is waited for a moment only."""
    monkeypatch.setattr(user_groups, "_WAIT_SECONDS", 0.01)
    answers = asyncio.Event()
    groups = groups_of(Slack(answers))
    assert await groups.of("U1", GRANTED) is None
    assert groups._asking is not None
    answers.set()
    await groups._asking
    assert await groups.of("U1", GRANTED) == ("S1", "S2")


@pytest.mark.parametrize(
    "answer", [None, {}, [None, {"id": 1, "users": ["U1"]}, {"id": "S1", "users": [1]}, {"id": "S1"}]]
)
def test_odd_answers_name_nobody(answer: Any) -> None:
    """An answer of another shape names nobody."""
    assert list(members_of(answer)) == []


async def test_an_actor_has_its_groups_and_says_who_is_no_member() -> None:
    """Where everyone may act, the worker is told the person's groups, and that a guest is no member."""
    slack: Any = Slack(ANSWER)

    async def users_info(*, user: str) -> Any:
        return {"user": {"id": user, "team_id": "T1", "is_restricted": user == "U1"}}

    slack.web.users_info = users_info
    known = Identity(team_id="T1", scopes=frozenset({USERGROUPS_READ, USERS_READ}))
    identity: Any = SimpleNamespace(current=lambda: known)
    members = Members(slack, identity, "everyone")
    guest = await members.actor_of({"user_id": "U1", "team_id": "T1"})
    assert guest == SlackActor(user_id="U1", team_id="T1", groups=("S1", "S2"), member=False)
    member = await members.actor_of({"user_id": "U2", "team_id": "T1"})
    assert member == SlackActor(user_id="U2", team_id="T1", groups=("S1",))
