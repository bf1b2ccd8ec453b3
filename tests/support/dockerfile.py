"""The Dockerfile as the tests read it: stages of instructions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tests.support.documents import read

_CONTINUED: Final = re.compile(r"\\\n\s*")
_COMMENT: Final = re.compile(r"^#.*\n?", re.MULTILINE)


@dataclass(frozen=True)
class Stage:
    """From one FROM to the next; ``image`` is what it begins with."""

    image: str
    instructions: tuple[tuple[str, str], ...]

    def those(self, name: str) -> list[str]:
        """The words behind each instruction of this name, in order."""
        return [rest for word, rest in self.instructions if word == name]


def stages() -> list[Stage]:
    """All of them, in order; the last one is the image."""
    lines = _CONTINUED.sub("", _COMMENT.sub("", read("Dockerfile"))).splitlines()
    words = [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line)]
    starts = [number for number, (word, _) in enumerate(words) if word == "FROM"]
    return [
        Stage(words[start][1].split()[0], tuple(words[start + 1 : end]))
        for start, end in zip(starts, [*starts[1:], len(words)], strict=True)
    ]
