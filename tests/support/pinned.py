"""For tests that hold what is not promised to us: names and habits of kombu, Celery and billiard."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

P = ParamSpec("P")
_ROOT = Path(__file__).parents[2]


def needed_by(*files: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """When the test fails, say which of our files lean on what it holds."""
    for file in files:
        assert (_ROOT / file).exists(), file

    def decorate(test: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(test)
        def noted(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                test(*args, **kwargs)
            except Exception as exc:
                exc.add_note(f"{' and '.join(files)}: look here before you raise the pin. {test.__doc__}")
                raise

        return noted

    return decorate


def overridden(ours: type) -> set[str]:
    """Return the names that a class of ours overrides; dunders and annotations left out."""
    own = {name for name in vars(ours) if not name.startswith("__")}
    return {name for name in own for base in ours.__mro__[1:-1] if name in vars(base)}
