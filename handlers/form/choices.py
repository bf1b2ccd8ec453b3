"""Choices of a field: as options of a select, or typed where Slack shows too many of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2s

from handlers.form.limits import LONGEST_OPTION_VALUE, MOST_OPTIONS, size
from handlers.form.values import Fault
from threadsync.forms import Choice

_MOST_NAMED = 5


def fit_a_select(choices: Sequence[Choice]) -> bool:
    """Return True if a select can offer them; else they must be typed."""
    return 0 < len(choices) <= MOST_OPTIONS and all(size(item.id) <= LONGEST_OPTION_VALUE for item in choices)


def fingerprint(choices: Sequence[Choice]) -> str:
    """Return a text that differs for other choices: a select of the same ones keeps what was chosen."""
    text = "\x00".join(f"{item.id}\x00{item.label}" for item in choices)
    return blake2s(text.encode(), digest_size=4).hexdigest()


def match(choices: Sequence[Choice], text: str) -> str:
    """Return the id of the one choice with this text as its label or id. Raises ``Fault``.

    An id counts before a label, and a label as it is spelt before one in other capitals.
    """
    wanted = " ".join(text.split())
    for found in (
        [item for item in choices if item.id == wanted],
        [item for item in choices if item.label == wanted],
        [item for item in choices if wanted.casefold() in (item.label.casefold(), item.id.casefold())],
    ):
        if len(found) == 1:
            return found[0].id
        if found:
            ids = ", ".join(item.id for item in found[:_MOST_NAMED])
            raise Fault(f"“{wanted[:100]}” means several: write the id of one of them ({ids}).")
    near = [item.label for item in choices if wanted.casefold() in item.label.casefold()][:_MOST_NAMED]
    rest = f" Did you mean {', '.join(near)}?" if near else ""
    raise Fault(f"There is no choice “{wanted[:100]}”.{rest}"[:1_000])


def typed_text(choices: Sequence[Choice], choice_id: str) -> str | None:
    """Return the text to type for a choice; None where no text means it."""
    label = next((item.label for item in choices if item.id == choice_id), None)
    for text in (label, choice_id):
        try:
            if text is not None and match(choices, text) == choice_id:
                return text
        except Fault:
            continue
    return None
