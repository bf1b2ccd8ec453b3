"""Say a mistake in the settings in its own words, where Celery and Python would print a traceback.

Celery logs whatever ends a worker or beat with its traceback, and raises it. An operator's mistake is one
sentence, which says what to change; where in the code it was noticed is of no use. Nor is it where a message
is handed back to the broker, which is no error at all.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from types import TracebackType
from typing import Final

from threadsync.errors import InvalidSettings

_told: Final[deque[BaseException]] = deque(maxlen=8)


class InASentence(logging.Filter):
    """For a handler: such an error is logged as what it says."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and _is_a_mistake(error):
            _told.append(error)
            record.msg, record.args, record.exc_info = str(error), (), None
        elif _hands_back(error):
            # Celery's line has the reason, and a batch that goes back has sixty-four of them.
            record.exc_info = None
        return True


def tell_mistakes_in_a_sentence() -> None:
    """Do so for what ends this process, from now on; any other error keeps its traceback."""
    former = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not _is_a_mistake(error):
            former(kind, error, trace)
        elif not any(error is told for told in _told):
            sys.stderr.write(f"{error}\n")

    sys.excepthook = hook


def _hands_back(error: BaseException | None) -> bool:
    """Return True for a message that goes back to the broker: no process that has one lacks the module."""
    celerys = sys.modules.get("celery.exceptions")
    return celerys is not None and isinstance(error, celerys.Reject)


def _is_a_mistake(error: BaseException) -> bool:
    if isinstance(error, InvalidSettings):
        return True
    # Its module knows brokers, which not every process that logs has loaded.
    installation = sys.modules.get("threadsync.broker.installation")
    return installation is not None and isinstance(error, installation.OthersBroker)
