"""What a person does on the page: checked, then sent to threadsync as Slack sends it."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any, Final

from handlers.mapping import OPEN_SHORTCUT
from handlers.ticket_command import SLASH_COMMAND
from sandbox.playground import payloads
from sandbox.playground.cast import BOT, CHANNELS_HERE, GROUPS_HERE, PEOPLE_HERE, Channel, Person
from sandbox.playground.delivery import Delivered, Delivery
from sandbox.playground.form_state import FormState, WrongInput, element_of, element_state, state_of
from sandbox.playground.typed import as_slack_sends
from sandbox.playground.uploads import WrongFile, files_in
from sandbox.slack.messages import Message
from sandbox.slack.requests import BOT_USER_ID, Payload
from sandbox.slack.response_urls import Place
from sandbox.slack.server import SlackSandbox

Answer = dict[str, Any]
Asked = Mapping[str, Any]

LONGEST_TEXT: Final = 4_000
_SLACKBOT: Final = "USLACKBOT"
_MOST_TRIGGERS: Final = 1_000
_NOT_REACHED: Final = "We had some trouble connecting. Try again?"
_ESCAPES: Final = bool(
    re.search(r"should_escape:\s*true", resources.files("handlers").joinpath("manifest.yaml").read_text())
)
"""Whether Slack escapes what is typed after the slash command, as the app's manifest says."""


class WrongAct(ValueError):
    """A request that the page does not make; the message says what is wrong with it."""


class Acts:
    """The acts of the page. Each takes and returns JSON. Raises ``WrongAct``."""

    def __init__(self, slack: SlackSandbox, delivery: Delivery) -> None:
        self._slack = slack
        self._workspace = slack.workspace
        self._delivery = delivery
        self._triggers: OrderedDict[str, str] = OrderedDict()
        self._people = {person.id: person for person in PEOPLE_HERE}
        self._channels = {channel.id: channel for channel in CHANNELS_HERE}

    def viewer_of(self, view: Mapping[str, Any]) -> str | None:
        """Return the person for whom a view opened; None if this process does not know the trigger."""
        return self._triggers.get(self._workspace.modals.triggers.get(view["id"], ""))

    async def message(self, asked: Asked) -> Answer:
        """Post a message, in a channel or with ``thread_ts`` in a thread; ``files`` go with it."""
        person, channel = self._person(asked), self._channel(asked)
        thread_ts = asked.get("thread_ts") or None
        if thread_ts is not None and not self._has_thread(channel, str(thread_ts)):
            raise WrongAct("there is no such thread")
        text = self._as_slack_sends(_text(asked).strip())
        try:
            files = files_in(asked.get("files"))
        except WrongFile as exc:
            raise WrongAct(str(exc)) from exc
        if not text and not files:
            raise WrongAct("a message needs a text or a file")
        ts = self._workspace.new_ts()
        message = self._workspace.add(channel.id, person.id, text, ts=ts, thread_ts=thread_ts, files=files)
        site = self._workspace.site
        events = [payloads.of_message(person, message, site, is_mention=False)]
        if f"<@{BOT_USER_ID}>" in text:
            events.append(payloads.of_message(person, message, site, is_mention=True))
        self._delivery.events(*events)
        return {"ts": ts}

    async def command(self, asked: Asked) -> Answer:
        """Type ``/ticket …``. The response is for the person alone."""
        person, channel = self._person(asked), self._channel(asked)
        text = _text(asked).strip()
        text = self._as_slack_sends(text) if _ESCAPES else text
        place = Place(channel.id, person.id)
        url = self._slack.new_response_url(place)
        payload = self._known(payloads.of_command(person, channel, SLASH_COMMAND, text, url), person)
        done = await self._delivery.once(payload)
        if not done.is_accepted:
            sentence = f'{SLASH_COMMAND} failed with the error "{_error(done)}".'
            self._workspace.add(
                channel.id, _SLACKBOT, sentence, ts=self._workspace.new_ts(), only_for=person.id
            )
        elif isinstance(done.body, dict) and (done.body.get("text") or done.body.get("blocks")):
            self._workspace.respond(place, done.body)
        return {}

    async def button(self, asked: Asked) -> Answer:
        """Press a button of a message: ``block`` and ``element`` are its places there."""
        person, channel = self._person(asked), self._channel(asked)
        message = self._message(asked, channel, person)
        action = _button_in(message, asked)
        place = Place(channel.id, person.id, message.thread_ts, message.ts)
        url = self._slack.new_response_url(place)
        payload = self._known(payloads.of_button(person, channel, message, action, url), person)
        return _told(await self._delivery.once(payload))

    async def shortcut(self, asked: Asked) -> Answer:
        """Choose the message shortcut *Open a ticket session*."""
        person, channel = self._person(asked), self._channel(asked)
        message = self._message(asked, channel, person)
        url = self._slack.new_response_url(Place(channel.id, person.id, message.thread_ts, message.ts))
        payload = payloads.of_shortcut(person, channel, message, OPEN_SHORTCUT, url)
        return _told(await self._delivery.once(self._known(payload, person)))

    async def submit(self, asked: Asked) -> Answer:
        """Submit a form. The answer has ``errors`` by block while it stays open."""
        person, view = self._person(asked), self._view(asked)
        state = _state(view, asked)
        if state.errors:
            return {"errors": state.errors}
        payload = payloads.of_view(payloads.SUBMISSION, person, view, state.values)
        done = await self._delivery.once(self._known(payload, person))
        return self._after_submission(view, done)

    async def change(self, asked: Asked) -> Answer:
        """Change an element of a form that tells so at once, such as a select with ``dispatch_action``."""
        person, view = self._person(asked), self._view(asked)
        block_id, action_id = str(asked.get("block_id", "")), str(asked.get("action_id", ""))
        try:
            changed = element_state(element_of(view, block_id, action_id), asked.get("value"))
        except WrongInput as exc:
            return {"errors": {block_id: str(exc)}}
        action = {**changed, "block_id": block_id, "action_id": action_id}
        payload = payloads.of_element(person, view, _state(view, asked).values, action)
        return _told(await self._delivery.once(self._known(payload, person)))

    async def options(self, asked: Asked) -> Answer:
        """Ask for the options of an external select that fit ``query``."""
        person, view = self._person(asked), self._view(asked)
        block_id, action_id = str(asked.get("block_id", "")), str(asked.get("action_id", ""))
        query = str(asked.get("query", ""))[:LONGEST_TEXT]
        done = await self._delivery.once(payloads.of_question(person, view, block_id, action_id, query))
        return {"options": list(_offered(done.body))} if done.is_accepted else {"options": []}

    async def close(self, asked: Asked) -> Answer:
        """Close a form without sending it."""
        person, view = self._person(asked), self._view(asked)
        self._workspace.modals.close(view["id"])
        if view.get("notify_on_close"):
            await self._delivery.once(payloads.of_view(payloads.CLOSED, person, view, {}))
        return {}

    def _after_submission(self, view: Answer, done: Delivered) -> Answer:
        modals, body = self._workspace.modals, done.body
        if not done.is_accepted:
            return {"errors": {"": _NOT_REACHED}}
        action = body.get("response_action") if isinstance(body, dict) else None
        if action == "errors":
            return {"errors": body["errors"]}
        if action in ("update", "push") and isinstance(body.get("view"), dict):
            modals.replace(view, {"external_id": "", "private_metadata": "", "blocks": [], **body["view"]})
        else:
            modals.close(view["id"])
        return {}

    def _person(self, asked: Asked) -> Person:
        person = self._people.get(str(asked.get("user", "")))
        if person is None:
            raise WrongAct("there is no such person")
        return person

    def _channel(self, asked: Asked) -> Channel:
        channel = self._channels.get(str(asked.get("channel", "")))
        if channel is None:
            raise WrongAct("there is no such channel")
        return channel

    def _has_thread(self, channel: Channel, thread_ts: str) -> bool:
        """Return True if the message is there that a thread begins with, or one inside the thread."""
        messages = self._slack.messages
        return any(item.channel == channel.id and thread_ts in (item.ts, item.thread_ts) for item in messages)

    def _message(self, asked: Asked, channel: Channel, person: Person) -> Message:
        ts = asked.get("ts")
        for message in self._slack.messages:
            if (message.channel, message.ts) == (channel.id, ts) and message.only_for in (None, person.id):
                return message
        raise WrongAct("there is no such message")

    def _view(self, asked: Asked) -> Answer:
        view = self._workspace.modals.current(str(asked.get("view_id", "")))
        if view is None or self.viewer_of(view) != asked.get("user"):
            raise WrongAct("that form is not open any more")
        return view

    def _as_slack_sends(self, text: str) -> str:
        people = {person.name.lower(): person.id for person in (*PEOPLE_HERE, BOT)}
        channels = {channel.name: channel.id for channel in CHANNELS_HERE}
        groups = {group.name: group.id for group in GROUPS_HERE}
        return as_slack_sends(text, people, channels, groups)

    def _known(self, payload: Payload, person: Person) -> Payload:
        """Remember whose trigger the payload has: a form that it opens is for this person."""
        self._triggers[str(payload["trigger_id"])] = person.id
        while len(self._triggers) > _MOST_TRIGGERS:
            self._triggers.popitem(last=False)
        return payload


def _text(asked: Asked) -> str:
    text = asked.get("text", "")
    if not isinstance(text, str) or len(text) > LONGEST_TEXT:
        raise WrongAct(f"a text has at most {LONGEST_TEXT:,} characters")
    return text


def _state(view: Mapping[str, Any], asked: Asked) -> FormState:
    values = asked.get("values") or {}
    if not isinstance(values, dict) or not all(isinstance(inputs, dict) for inputs in values.values()):
        raise WrongAct("values are objects by block and action")
    return state_of(view, values)


def _button_in(message: Message, asked: Asked) -> Mapping[str, Any]:
    try:
        block = message.blocks[int(asked["block"])]
        found = block["accessory"] if "accessory" in block else block["elements"][int(asked["element"])]
    except (KeyError, IndexError, TypeError, ValueError):
        raise WrongAct("there is no such button") from None
    if found.get("type") != "button":
        raise WrongAct("that is no button")
    return {"block_id": block.get("block_id", f"b{asked['block']}"), **found}


def _told(done: Delivered) -> Answer:
    return {} if done.is_accepted else {"sentence": f"Slack shows an error: {_error(done)}."}


def _error(done: Delivered) -> str:
    return "dispatch_failed" if done.status is not None else "operation_timeout"


def _offered(body: Any) -> Iterator[Any]:
    if isinstance(body, dict):
        yield from body.get("options", ())
        for group in body.get("option_groups", ()):
            yield from group.get("options", ())
