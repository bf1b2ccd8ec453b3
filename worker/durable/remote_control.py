"""Let remote control ask and revoke; refuse changes to a worker, and survive junk.

A program that may write to the broker may speak to all workers. Questions and ``control revoke`` are answered
as by Celery; the rest needs ``REMOTE_CONTROL_CHANGES`` (ADR 20).

    Pub/Sub or a queue of the worker's own -> Celery's Pidbox -> WorkersNode.handle_message
                                                                  looks at each part before Celery reads it
                                                                  -> an answer, to who asks, nowhere else
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cached_property
from typing import Any, Final

from celery.app.control import Control, Inspect
from celery.worker.control import Panel
from kombu.pidbox import Mailbox, Node

from threadsync.config import get_settings
from worker.durable.admission import is_name
from worker.durable.lane.inspection import QUESTIONS, shown_to_celery

log = logging.getLogger("threadsync.worker")

_CHANGES_LITTLE: Final = frozenset({"revoke", "enable_events", "heartbeat"})
"""Methods allowed besides questions: to drop a message before it runs, and to watch a worker."""

_COSTLY: Final = frozenset({"objgraph", "memdump", "memsample"})
"""Questions that make a worker stand still, or write a file."""

_CREDENTIALS: Final = re.compile(r"://[^/@\s'\"]*@")
_MOST_REVOKED: Final = 1000
_HIGHEST_CLOCK: Final = 2**62


class NotUnderstood(Exception):
    """A message that is no remote control."""


class WorkersNode(Node):
    """The part of a worker that receives remote control."""

    # kombu's types leave them out, or say that they may be none.
    adjust_clock: Callable[[int], int]
    mailbox: Any
    state: Any

    def handle_message(self, body: Any, message: Any = None) -> Any:
        """Carry out a command that is for this worker and allowed."""
        try:
            command = _understood(body)
        except NotUnderstood as exc:
            log.warning("remote control: %s", exc)
            return None
        clock = message.headers.get("clock") if message and isinstance(message.headers, dict) else None
        if isinstance(clock, int) and 0 <= clock < _HIGHEST_CLOCK:
            self.adjust_clock(clock)
        destination = command.pop("destination")
        if destination and self.hostname not in destination:
            return None
        return self.dispatch(**command)

    dispatch_from_message = handle_message

    def dispatch(
        self, method: str, arguments: Any = None, reply_to: Any = None, ticket: Any = None, **_: Any
    ) -> Any:
        """Reply only where replies to remote control are read."""
        if reply_to and reply_to["exchange"] != self.mailbox.reply_exchange.name:
            log.warning("remote control: %s asks for an answer elsewhere; it gets none", method)
            reply_to = None
        return super().dispatch(method, arguments, reply_to, ticket)

    def handle(self, method: str, arguments: Any = None) -> Any:
        """Run a method of remote control, or reply why it is refused."""
        if not get_settings().remote_control_changes and not _may_run(method, arguments or {}):
            log.warning("remote control: %s is refused", method)
            return {
                "error": f"{method} is off here: set REMOTE_CONTROL_CHANGES=true for the worker to allow it"
            }
        consumer = getattr(self.state, "consumer", None)
        with shown_to_celery(consumer) if consumer and method in QUESTIONS else nullcontext():
            return _without_passwords(super().handle(method, arguments))


def _without_passwords(answer: Any) -> Any:
    """Return a reply with passwords masked in each address: many may ask, and Celery masks only some."""
    if isinstance(answer, str):
        return _CREDENTIALS.sub("://********@", answer)
    if isinstance(answer, dict):
        return {name: _without_passwords(value) for name, value in answer.items()}
    if isinstance(answer, list | tuple):
        return [_without_passwords(value) for value in answer]
    return answer


def _may_run(method: str, arguments: Mapping[str, Any]) -> bool:
    if method not in Panel.data:
        # Celery itself replies to an unknown method.
        return True
    # Some have an older name besides.
    name = next((name for name in Panel.meta if Panel.data[name] is Panel.data[method]), "")
    if name == "revoke":
        # The reply lists all ids, so their number is limited.
        ids = arguments.get("task_id")
        return not arguments.get("terminate") and not (isinstance(ids, list) and len(ids) > _MOST_REVOKED)
    is_question = name in Panel.meta and Panel.meta[name].type == "inspect"
    return name in _CHANGES_LITTLE or (is_question and name not in _COSTLY)


def _understood(body: Any) -> dict[str, Any]:
    """Return a message's command, with the types that Celery expects. Raises ``NotUnderstood``."""
    if not isinstance(body, dict) or not is_name(body.get("method")):
        raise NotUnderstood("what came names no command")
    arguments, destination = body.get("arguments") or {}, body.get("destination")
    reply_to, ticket = body.get("reply_to"), body.get("ticket")
    if not isinstance(arguments, dict):
        raise NotUnderstood("arguments have names")
    if destination is not None and not (isinstance(destination, list) and all(map(is_name, destination))):
        raise NotUnderstood("the destination is not a list of workers")
    if body.get("pattern") or body.get("matcher"):
        # A regular expression can take hours.
        raise NotUnderstood("patterns are not matched here; name the workers")
    if reply_to is not None and not (
        isinstance(reply_to, dict)
        and all(is_name(reply_to.get(part)) for part in ("exchange", "routing_key"))
    ):
        raise NotUnderstood("it does not say where to the answer is to go")
    return {
        "method": body["method"],
        "arguments": arguments,
        "destination": destination,
        "reply_to": reply_to,
        "ticket": ticket if is_name(ticket) else None,
    }


class WorkersMailbox(Mailbox):
    """The mailbox of a worker for remote control."""

    node_cls = WorkersNode


class WorkersInspect(Inspect):
    """Questions to other workers, to which any program that saw them may reply with anything."""

    def _prepare(self, reply: Any) -> Any:
        answers = [answer for answer in reply or () if isinstance(answer, dict)]
        celerys: Any = super()
        return celerys._prepare(answers)


class WorkersControl(Control):
    """Celery's ``control`` of our apps."""

    Mailbox = WorkersMailbox

    @cached_property
    def inspect(self) -> Any:
        """Celery's property that makes questions, with ours in place of its class."""
        return self.app.subclass_with_self(WorkersInspect, reverse="control.inspect")
