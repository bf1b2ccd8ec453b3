"""The playground's server: who may use it, and what each act of the page becomes."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse, Response

from handlers.mapping import CREATE_BUTTON, OPEN_SHORTCUT
from sandbox.jira.faults import CommitThenDrop, Refuse, Throttle
from sandbox.jira.issues import Draft
from sandbox.playground.form_state import REQUIRED
from sandbox.playground.guard import TOKEN_HEADER
from sandbox.slack.requests import BOT_USER_ID, TEAM_ID
from tests.support.playground import ADA, CHANNEL, SITE, Played, played
from tests.support.slack_app import eventually

MODAL = {
    "type": "modal",
    "callback_id": "f",
    "title": {"type": "plain_text", "text": "Form"},
    "submit": {"type": "plain_text", "text": "Send"},
    "private_metadata": "about",
    "blocks": [
        {
            "type": "input",
            "block_id": "summary",
            "label": {"type": "plain_text", "text": "Summary"},
            "element": {"type": "plain_text_input", "action_id": "summary"},
        }
    ],
}


async def test_a_message_becomes_its_events() -> None:
    """A message becomes one event, a mention two, signed and under different event ids; names become ids."""
    async with played() as here:
        root = await here.done("message", user=ADA, channel=CHANNEL, text="it <b>broke</b>")
        text = "@threadsync look, @Ben: #billing"
        reply = await here.done("message", user=ADA, channel=CHANNEL, text=text, thread_ts=root["ts"])
        await eventually(lambda: len(here.endpoint.payloads) == 3, "all events are there")
        events = {(item["event"]["type"], item["event"]["ts"]): item for item in here.endpoint.payloads}
        assert set(events) == {
            ("message", root["ts"]),
            ("message", reply["ts"]),
            ("app_mention", reply["ts"]),
        }
        assert events["message", root["ts"]]["event"]["text"] == "it &lt;b&gt;broke&lt;/b&gt;"
        mention = events["app_mention", reply["ts"]]["event"]
        assert mention["text"] == f"<@{BOT_USER_ID}> look, <@U0BEN>: <#C0BILLING>"
        assert (mention["user"], mention["team"], mention["thread_ts"]) == (ADA, TEAM_ID, root["ts"])
        assert len({item["event_id"] for item in here.endpoint.payloads}) == 3
        assert here.slack.messages[0].text == "it &lt;b&gt;broke&lt;/b&gt;"


async def test_the_web_api_knows_the_people_of_the_page() -> None:
    """The app reads in Slack who is on the page: names, guests, partners, and the group."""
    async with played() as here:
        call = here.slack.workspace.call
        people = {
            user: call("users.info", {"user": user})["user"] for user in (ADA, "U0GUS", "U0PIA", BOT_USER_ID)
        }
        assert [people[user]["profile"]["display_name"] for user in people] == [
            "Ada",
            "Gus",
            "Pia",
            "threadsync",
        ]
        assert [user for user in people if people[user]["is_restricted"]] == ["U0GUS"]
        assert [user for user in people if people[user]["team_id"] != TEAM_ID] == ["U0PIA"]
        (group,) = call("usergroups.list", {"include_users": True})["usergroups"]
        assert group["users"] == [ADA, "U0BEN"]
        await here.done("message", user=ADA, channel=CHANNEL, text="@helpdesk, look")
        assert here.slack.messages[-1].text == f"<!subteam^{group['id']}>, look"


async def test_a_file_goes_with_its_message() -> None:
    """A file is in the event of its message and in the thread, and the bot downloads it."""
    async with played() as here:
        file = {"name": "log.txt", "type": "text/plain", "data": base64.b64encode(b"it broke").decode()}
        await here.done("message", user=ADA, channel=CHANNEL, text="see", files=[file])
        await eventually(lambda: here.endpoint.payloads, "the event is there")
        event = here.endpoint.payloads[0]["event"]
        assert event["subtype"] == "file_share"
        (told,) = event["files"]
        assert (told["name"], told["size"], told["mimetype"]) == ("log.txt", 8, "text/plain")
        async with httpx.AsyncClient() as bot:
            token = {"authorization": f"Bearer {here.slack.token}"}
            assert (await bot.get(told["url_private"], headers=token)).content == b"it broke"


async def test_an_event_is_delivered_until_it_is_accepted() -> None:
    """An event that is not accepted comes again, with its number and the reason, four times at most."""
    async with played(pauses=(0, 0, 0)) as here:
        here.endpoint.answer = lambda payload: Response(status_code=503)
        await here.done("message", user=ADA, channel=CHANNEL, text="hello")
        await eventually(lambda: len(here.endpoint.payloads) == 4, "it was sent four times")
        assert here.endpoint.retries == [
            (None, None),
            ("1", "http_error"),
            ("2", "http_error"),
            ("3", "http_error"),
        ]
        assert len({json.dumps(item) for item in here.endpoint.payloads}) == 1


async def test_a_command_is_answered_to_one_person() -> None:
    """``/ticket …`` is sent as a form; its answer, or an error, is seen by its person alone."""
    async with played() as here:
        here.endpoint.answer = lambda payload: JSONResponse({"text": "one session"})
        await here.done("command", user=ADA, channel=CHANNEL, text=" status ")
        (form,) = here.endpoint.payloads
        assert (form["command"], form["text"], form["user_id"]) == ("/ticket", "status", ADA)
        here.endpoint.answer = lambda payload: Response(status_code=500)
        await here.done("command", user=ADA, channel=CHANNEL, text="status")
        seen = [(item.text, item.only_for) for item in here.slack.messages]
        assert seen == [
            ("one session", ADA),
            ('/ticket failed with the error "dispatch_failed".', ADA),
        ]
        await here.respond(form["response_url"], text="later")
        assert (here.slack.messages[-1].text, here.slack.messages[-1].only_for) == ("later", ADA)


def post_button(here: Played) -> Any:
    button = {
        "type": "button",
        "action_id": CREATE_BUTTON,
        "text": {"type": "plain_text", "text": "Create ticket …"},
        "value": "1.1",
    }
    blocks = [{"type": "divider"}, {"type": "actions", "block_id": "x", "elements": [button]}]
    content = {"channel": CHANNEL, "text": "press", "thread_ts": "1.1", "blocks": blocks}
    return here.slack.workspace.call("chat.postMessage", content)


async def test_a_button_is_the_one_of_the_message() -> None:
    """A click has the button and the message as they stand in the channel, whatever the page says."""
    async with played() as here:
        ts = post_button(here)["ts"]
        await here.done("button", user=ADA, channel=CHANNEL, ts=ts, block=1, element=0, value="other")
        (click,) = here.endpoint.payloads
        (action,) = click["actions"]
        assert (action["action_id"], action["value"], action["block_id"]) == (CREATE_BUTTON, "1.1", "x")
        assert (click["message"]["ts"], click["container"]["thread_ts"]) == (ts, "1.1")
        assert (click["user"]["id"], click["channel"]["name"]) == (ADA, "support")
        for wrong in ({"block": 0}, {"block": 9}, {"block": 1, "element": 7}, {"ts": "9.9"}):
            asked = {"user": ADA, "channel": CHANNEL, "ts": ts, "block": 1, "element": 0, **wrong}
            assert (await here.act("button", **asked)).status_code == 400
        await here.respond(click["response_url"], text="done")
        assert here.slack.messages[-1].thread_ts == "1.1"


async def test_a_shortcut_is_of_a_message() -> None:
    """The message shortcut names the message and its thread."""
    async with played() as here:
        root = await here.done("message", user=ADA, channel=CHANNEL, text="it broke")
        await here.done("shortcut", user="U0BEN", channel=CHANNEL, ts=root["ts"])
        await eventually(lambda: len(here.endpoint.payloads) == 2, "both are there")
        chosen = next(item for item in here.endpoint.payloads if item["type"] == "message_action")
        assert (chosen["callback_id"], chosen["message"]["text"]) == (OPEN_SHORTCUT, "it broke")


async def open_form(here: Played, view: dict[str, Any] | None = None) -> dict[str, Any]:
    """Open a form as the app does, by the trigger of a click."""
    ts = post_button(here)["ts"]
    await here.done("button", user=ADA, channel=CHANNEL, ts=ts, block=1, element=0)
    asked = {"trigger_id": here.endpoint.payloads[-1]["trigger_id"], "view": view or MODAL}
    opened: dict[str, Any] = here.slack.workspace.call("views.open", asked)["view"]
    return opened


async def test_a_form_is_sent_as_it_stands() -> None:
    """A form is sent with the view's own id, hash and metadata, and closes when it is accepted."""
    async with played() as here:
        view = await open_form(here)
        state = (await here.page.get("/playground/state")).json()
        assert [(item["id"], item["user"]) for item in state["views"]] == [(view["id"], ADA)]
        asked = {"user": ADA, "view_id": view["id"]}
        assert (await here.done("submit", **asked, values={}))["errors"] == {"summary": REQUIRED}
        values = {"summary": {"summary": "It broke"}}
        here.endpoint.answer = lambda payload: JSONResponse(
            {"response_action": "errors", "errors": {"summary": "Too short."}}
        )
        assert (await here.done("submit", **asked, values=values))["errors"] == {"summary": "Too short."}
        here.endpoint.answer = lambda payload: Response(status_code=500)
        assert "trouble" in (await here.done("submit", **asked, values=values))["errors"][""]
        here.endpoint.answer = lambda payload: Response(status_code=200)
        assert await here.done("submit", **asked, values=values) == {}
        sent = here.endpoint.payloads[-1]
        assert sent["type"] == "view_submission"
        assert {name: sent["view"][name] for name in ("id", "hash", "private_metadata")} == {
            "id": view["id"],
            "hash": view["hash"],
            "private_metadata": "about",
        }
        assert sent["view"]["state"]["values"] == {
            "summary": {"summary": {"type": "plain_text_input", "value": "It broke"}}
        }
        assert (await here.act("submit", **asked, values=values)).status_code == 400, "it is closed"


async def test_a_form_is_its_persons() -> None:
    """Nobody sends or closes a form that opened for somebody else."""
    async with played() as here:
        view = await open_form(here)
        for act in ("submit", "close"):
            assert (await here.act(act, user="U0BEN", view_id=view["id"])).status_code == 400
        assert await here.done("close", user=ADA, view_id=view["id"]) == {}
        assert here.slack.workspace.modals.still_open == []


async def test_a_select_that_tells_at_once_becomes_an_action() -> None:
    """An element with ``dispatch_action`` sends all states at once; the app offers options."""
    option = {"text": {"type": "plain_text", "text": "Bug"}, "value": "10002"}
    kind = {"type": "static_select", "action_id": "type", "options": [option]}
    person = {"type": "external_select", "action_id": "who", "min_query_length": 0}
    blocks = [
        *MODAL["blocks"],
        {"type": "input", "block_id": "type", "dispatch_action": True, "element": kind},
        {"type": "input", "block_id": "who", "element": person, "optional": True},
    ]
    async with played() as here:
        view = await open_form(here, {**MODAL, "blocks": blocks})
        asked = {"user": ADA, "view_id": view["id"], "block_id": "type", "action_id": "type"}
        values = {"summary": {"summary": "It broke"}, "type": {"type": "10002"}}
        await here.done("change", **asked, value="10002", values=values)
        action = here.endpoint.payloads[-1]
        assert (action["container"]["view_id"], action["actions"][0]["selected_option"]) == (
            view["id"],
            option,
        )
        assert action["view"]["state"]["values"]["summary"]["summary"]["value"] == "It broke"
        wrong = await here.done("change", **asked, value="nothing", values=values)
        assert list(wrong["errors"]) == ["type"]
        here.endpoint.answer = lambda payload: JSONResponse({"options": [option]})
        asked = {"user": ADA, "view_id": view["id"], "block_id": "who", "action_id": "who"}
        assert (await here.done("options", **asked, query="ad"))["options"] == [option]
        assert here.endpoint.payloads[-1]["value"] == "ad"


async def test_switches_are_faults() -> None:
    """Each switch is a fault of the sandbox while it is on; a refusal goes before a lost answer."""
    async with played() as here:
        site = here.jira

        def fault(endpoint: str) -> Any:
            return site.plan(endpoint, {}) if site.plan else None

        await here.done("switch", name="jira_loses_answers", on=True)
        assert (fault("create"), fault("search")) == (CommitThenDrop(), None)
        await here.done("switch", name="jira_is_busy", on=True)
        assert isinstance(fault("create"), Throttle)
        await here.done("switch", name="jira_refuses_token", on=True)
        assert isinstance(fault("search"), Refuse)
        for name in ("jira_loses_answers", "jira_is_busy", "jira_refuses_token"):
            await here.done("switch", name=name, on=False)
        assert fault("create") is None
        await here.done("switch", name="jira_is_away", on=True)
        await here.done("switch", name="slack_is_away", on=True)
        assert (site.is_down, here.slack.is_down) == (True, True)
        state = (await here.page.get("/playground/state")).json()
        assert {item["name"]: item["on"] for item in state["switches"]} == {
            "jira_loses_answers": False,
            "jira_is_away": True,
            "jira_is_busy": False,
            "jira_refuses_token": False,
            "slack_is_away": True,
        }
        assert (await here.act("switch", name="jira_explodes", on=True)).status_code == 400


async def test_tickets_are_in_the_state_and_in_the_changes() -> None:
    """Jira's tickets are on the page, with a change as they come."""
    document = {
        "type": "doc",
        "content": [
            {"type": "paragraph", "content": [{"type": "text", "text": "One"}]},
            {"type": "paragraph", "content": [{"type": "text", "text": "Two"}]},
        ],
    }
    async with played() as here:
        here.jira.commit(Draft("PLAY", "Task", "It broke", document, ("slk-x",)))
        state = (await here.page.get("/playground/state")).json()
        (ticket,) = state["tickets"]
        assert (ticket["key"], ticket["summary"], ticket["description"]) == ("PLAY-1", "It broke", "One\nTwo")
        log = here.slack.workspace.changes
        await eventually(
            lambda: any(item.kind == "tickets" and item.data for item in log.after(0) or []), "it is told"
        )


@pytest.mark.parametrize(
    ("act", "asked"),
    [
        ("message", {"user": "U0NOBODY", "channel": CHANNEL, "text": "x"}),
        ("message", {"user": ADA, "channel": "C0NONE", "text": "x"}),
        ("message", {"user": ADA, "channel": CHANNEL, "text": "  "}),
        ("message", {"user": ADA, "channel": CHANNEL, "text": "x" * 4001}),
        ("message", {"user": ADA, "channel": CHANNEL, "text": 7}),
        ("message", {"user": ADA, "channel": CHANNEL, "text": "x", "thread_ts": "9.9"}),
        ("message", {"user": ADA, "channel": CHANNEL, "text": "x", "files": [1, 2, 3, 4]}),
        ("message", {"user": ADA, "channel": CHANNEL, "text": "x", "files": ["log.txt"]}),
        (
            "message",
            {"user": ADA, "channel": CHANNEL, "text": "x", "files": [{"name": "x", "type": "", "data": "?"}]},
        ),
        ("submit", {"user": ADA, "view_id": "V0NONE"}),
    ],
)
async def test_what_the_page_does_not_ask_is_refused(act: str, asked: dict[str, Any]) -> None:
    """An act that the page does not make is refused with a sentence, and nothing is sent."""
    async with played() as here:
        answer = await here.act(act, **asked)
        assert answer.status_code == 400
        assert answer.json()["sentence"].endswith(".")
        assert (here.endpoint.payloads, here.slack.messages) == ([], ())


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"host": "rebound.example.com:7000"}, 421),
        ({"host": "127.0.0.1:3000"}, 421),
        ({"origin": "https://evil.example.com"}, 403),
        ({"origin": "http://127.0.0.1:3000"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"x-forwarded-for": "127.0.0.1"}, 403),
        ({TOKEN_HEADER: "another"}, 403),
        ({TOKEN_HEADER: ""}, 403),
        ({"content-type": "text/plain"}, 415),
    ],
)
async def test_an_act_that_is_not_the_pages_changes_nothing(changed: dict[str, str], status: int) -> None:
    """An act by another name, origin or token changes nothing and sends nothing."""
    async with played() as here:
        asked = {"user": ADA, "channel": CHANNEL, "text": "hello"}
        assert (await here.act("message", changed, **asked)).status_code == status
        assert (await here.act("switch", changed, name="jira_is_away", on=True)).status_code == status
        assert (here.endpoint.payloads, here.slack.messages, here.jira.is_down) == ([], (), False)


async def test_a_peer_elsewhere_gets_nothing() -> None:
    """A peer on another machine gets neither the page nor the state, and changes nothing."""
    async with played(peer="10.0.0.7") as here:
        for path in ("/playground/", "/playground/state", "/playground/feed", "/playground/static/app.js"):
            assert (await here.page.get(path)).status_code == 403
        asked = {"user": ADA, "channel": CHANNEL, "text": "hello"}
        assert (await here.act("message", **asked)).status_code == 403
        assert here.slack.messages == ()


async def test_unknown_acts_and_large_ones_are_refused() -> None:
    """An unknown act is not found; a body that is too large, or is no object, is refused."""
    async with played() as here:
        assert (await here.act("explode")).status_code == 404
        assert (await here.act("message", text="x" * 2_600_000)).status_code == 413
        headers = {"origin": SITE, TOKEN_HEADER: here.playground.token, "content-type": "application/json"}
        for body in (b"[]", b"{", b"\xff", b"[" * 100_000):
            answer = await here.page.post("/playground/act/message", content=body, headers=headers)
            assert answer.status_code == 400


async def test_the_page_has_the_token_and_the_browser_never_the_secret() -> None:
    """The page has its token and strict headers; neither it nor the state has the signing secret."""
    async with played() as here:
        page = await here.page.get("/playground/")
        assert here.playground.token in page.text
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        state = await here.page.get("/playground/state")
        for answer in (page, state):
            assert here.playground._secret not in answer.text
            assert here.slack.token not in answer.text
        assert (await here.page.get("/")).headers["location"] == "/playground/"
