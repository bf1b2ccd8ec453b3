"""Modals of the sandbox Slack: opened by a trigger, replaced by id and hash. No I/O."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from sandbox.slack.arguments import Answer, Arguments, SlackError, from_json
from sandbox.slack.requests import APP_ID, BOT_ID, TEAM_ID

_LONGEST_WORDS: Final = 24
_LONGEST_METADATA: Final = 3_000
_MOST_BLOCKS: Final = 100
_MOST_OPTIONS: Final = 100


class Views:
    """All views that were opened, newest last, each as it stands now.

    Args:
        new_id: makes a number that was not used yet, in digits.
        changed: told of each view that opens, changes or closes.
    """

    def __init__(self, new_id: Callable[[], str], changed: Callable[[Answer], None]) -> None:
        self.opened: list[Answer] = []
        self.triggers: dict[str, str] = {}
        """The trigger that opened each view, by the view's id."""
        self.trigger_seconds: float | None = None
        """Lifetime of the triggers in our payloads, each for one view; None: no end. Slack's is 3 s."""
        self._new_id = new_id
        self._changed = changed
        self._closed: set[str] = set()

    def open(self, arguments: Arguments) -> Answer:
        """Carry out ``views.open``."""
        trigger = str(arguments.get("trigger_id") or "")
        if not trigger:
            raise SlackError("invalid_trigger_id")
        self._check_life(trigger)
        view = {**_checked(arguments), **self._made(f"V{self._new_id()}")}
        self.opened.append(view)
        self.triggers[view["id"]] = trigger
        self._changed(view)
        return {"view": view}

    def update(self, arguments: Arguments) -> Answer:
        """Carry out ``views.update``. With a hash of an older view it is ``hash_conflict``."""
        view_id, external_id = arguments.get("view_id"), arguments.get("external_id")
        if not view_id and not external_id:
            raise SlackError("invalid_arguments")
        old = self.current(str(view_id or ""), str(external_id or ""))
        if old is None:
            raise SlackError("not_found")
        view = _checked(arguments)
        given = arguments.get("hash")
        if given and given != old["hash"]:
            raise SlackError("hash_conflict")
        return {"view": self.replace(old, view)}

    def replace(self, old: Answer, view: Answer) -> Answer:
        """Put ``view`` in place of an open one, which keeps its id and gets another hash; return it."""
        new = {**view, **self._made(old["id"])}
        self.opened[self._place(old["id"])] = new
        self._changed(new)
        return new

    def current(self, view_id: str, external_id: str = "") -> Answer | None:
        """Return the open view of that id as it stands now; None if there is none."""
        for view in reversed(self.opened):
            is_named = view["id"] == view_id or (external_id and view["external_id"] == external_id)
            if is_named and view["id"] not in self._closed:
                return view
        return None

    @property
    def still_open(self) -> list[Answer]:
        """The views that nobody closed, the last one last."""
        return [view for view in self.opened if view["id"] not in self._closed]

    def close(self, view_id: str) -> None:
        """Close the view, as a user does or a submission."""
        if view := self.current(view_id):
            self._closed.add(view_id)
            self._changed({**view, "is_closed": True})

    def _check_life(self, trigger: str) -> None:
        made, _, rest = trigger.partition(".")
        if self.trigger_seconds is None or not (made.isdecimal() and rest.endswith(".sandbox")):
            return
        if time.time() - int(made) / 1e9 > self.trigger_seconds:
            raise SlackError("expired_trigger_id")
        if trigger in self.triggers.values():
            raise SlackError("exchanged_trigger_id")

    def _place(self, view_id: str) -> int:
        return next(place for place, view in enumerate(self.opened) if view["id"] == view_id)

    def _made(self, view_id: str) -> Answer:
        return {
            "id": view_id,
            "team_id": TEAM_ID,
            "app_id": APP_ID,
            "bot_id": BOT_ID,
            "app_installed_team_id": TEAM_ID,
            "root_view_id": view_id,
            "previous_view_id": None,
            "hash": f"{self._new_id()}.sandbox",
        }


def _checked(arguments: Arguments) -> Answer:
    """Read the view, and refuse what Slack refuses in one."""
    view = from_json(arguments.get("view"))
    if not isinstance(view, dict):
        raise SlackError("invalid_arguments")
    if faults := list(_faults(view)):
        raise SlackError("invalid_arguments", response_metadata={"messages": faults})
    return {"external_id": "", "private_metadata": "", "callback_id": "", "blocks": [], **view}


def _faults(view: Answer) -> list[str]:
    blocks = view.get("blocks", [])
    faults = [
        f"[ERROR] must be less than {_LONGEST_WORDS + 1} characters [json-pointer:/view/{name}/text]"
        for name in ("title", "submit", "close")
        if len(str((view.get(name) or {}).get("text", ""))) > _LONGEST_WORDS
    ]
    if not isinstance(blocks, list) or len(blocks) > _MOST_BLOCKS:
        return [*faults, f"[ERROR] no more than {_MOST_BLOCKS} items allowed [json-pointer:/view/blocks]"]
    if len(str(view.get("private_metadata") or "")) > _LONGEST_METADATA:
        faults.append("[ERROR] must be less than 3001 characters [json-pointer:/view/private_metadata]")
    if any(block.get("type") == "input" for block in blocks) and not view.get("submit"):
        faults.append("[ERROR] missing required field: submit [json-pointer:/view]")
    twice = [name for name, count in Counter(block.get("block_id") for block in blocks).items() if count > 1]
    faults += [f"[ERROR] block_id already used: {name} [json-pointer:/view/blocks]" for name in twice if name]
    return faults + [fault for block in blocks for fault in _faults_of_element(block)]


def _faults_of_element(block: Answer) -> list[str]:
    element: Any = block.get("element") or block.get("accessory") or {}
    if not isinstance(element, dict):
        return ["[ERROR] must be an object [json-pointer:/view/blocks]"]
    options = element.get("options")
    if options is not None and not 0 < len(options) <= _MOST_OPTIONS:
        return [f"[ERROR] between 1 and {_MOST_OPTIONS} options allowed [json-pointer:/view/blocks/options]"]
    longest = element.get("max_length")
    if longest is not None and len(str(element.get("initial_value") or "")) > longest:
        return ["[ERROR] initial_value is longer than max_length [json-pointer:/view/blocks/element]"]
    return []
