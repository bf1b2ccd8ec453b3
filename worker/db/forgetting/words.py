"""Find ids and names in texts, of which only a keyed hash and the number of letters are known. Pure.

They are found as the functions in the database find them: as words of their own, in any case of letters, and
with any space in them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

NO_SPACES_FROM: Final = "\u0e00"
"""Scripts from Thai on do not put spaces between words."""

_ESCAPED: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_CONTROLS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_SPACE: Final = re.compile(r"\s")
# A letter that begins a word, also one behind an escape of JSON; a sign; a letter of such a script.
_BEGINNING: Final = re.compile(
    rf"(?<![^\W_])[^\W_]|(?<=\\[bfnrt])[^\W_]|(?<=\\u[0-9a-f]{{4}})[^\W_]|[^\w\s]|_|[{NO_SPACES_FROM}-\U0010ffff]"
)


def as_compared(text: str) -> str:
    """Return the text in small letters and with one space for any, as hashes are made of it."""
    return _compared(text)[0]


def unescaped(text: str) -> str:
    """Return a text, which may be JSON or a part of it, without escapes."""
    found = _ESCAPED.sub(lambda escape: _meaning(escape[1]), text)
    # Halves that belong together become one letter.
    return found.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _meaning(escaped: str) -> str:
    if escaped[0] == "u" and len(escaped) > 1:
        return chr(int(escaped[1:], 16))
    return _CONTROLS.get(escaped, escaped)


def spans(text: str, lengths: Sequence[int], is_sought: Callable[[str], bool]) -> list[tuple[int, int]]:
    """Return where words of these lengths stand for which ``is_sought`` is true; none overlaps another."""
    compared, places = _compared(text)
    found: list[tuple[int, int]] = []
    end = 0
    for start, length in _candidates(compared, sorted(set(lengths), reverse=True)):
        if start >= end and is_sought(compared[start : start + length]):
            end = start + length
            found.append((places[start], places[end - 1] + 1))
    return found


def _compared(text: str) -> tuple[str, list[int]]:
    """Return the text as it is compared, and the place of each of its letters in the given one."""
    small = text.lower()
    if len(small) != len(text):
        # A few letters become two.
        small = "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)
    small = _SPACE.sub(" ", small)
    places = [at for at, letter in enumerate(small) if letter != " " or not at or small[at - 1] != " "]
    return "".join(small[at] for at in places), places


def _candidates(text: str, lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    for beginning in _BEGINNING.finditer(text):
        start = beginning.start()
        for length in lengths:
            if start + length <= len(text) and _may_end(text, start + length):
                yield start, length


def _may_end(text: str, end: int) -> bool:
    last = text[end - 1]
    return end == len(text) or last >= NO_SPACES_FROM or not (last.isalnum() and text[end].isalnum())
