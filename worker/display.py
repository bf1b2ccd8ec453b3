"""What of a message's arguments people may see: in events (so in Flower), in logs, in `celery inspect`.

A stock Celery client puts all of them into the headers ``argsrepr`` and ``kwargsrepr``, a draft's text too.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

NOT_SHOWN: Final = "(not shown)"


def shown(command: Any, args: Any, kwargs: Any, argsrepr: object, kwargsrepr: object) -> tuple[str, str]:
    """The two headers as they may be shown.

    A line that the sender wrote in place of the arguments stays: our clients send ``Command.summary()``.
    Otherwise a command is shown by its summary. Arguments that cannot be parsed are not shown, and neither
    are those of a task that is no command, such as a plain ``@app.task``: nobody knows what they hold.

    Args:
        command: the class of the command that the task runs, or None.
        argsrepr: what the message has as a header, if anything.
    """
    return (
        _shown_args(args, argsrepr),
        str(kwargsrepr) if _is_a_line(kwargsrepr) else _shown_kwargs(command, args, kwargs),
    )


def _shown_args(args: Any, argsrepr: object) -> str:
    if not args:
        return "()"
    return str(argsrepr) if _is_a_line(argsrepr) else NOT_SHOWN


def _shown_kwargs(command: Any, args: Any, kwargs: Any) -> str:
    if not kwargs:
        return "{}"
    # Whatever is wrong with it, its task says so; here it is only not shown.
    with suppress(Exception):
        return str(command.from_message(args, kwargs).summary())
    return NOT_SHOWN


def _is_a_line(text: object) -> bool:
    """No repr of Python's, and no JSON. Our clients' messages end here, so it must be quick."""
    return isinstance(text, str) and text != "" and not ("{" in text or "[" in text or text.startswith("("))
