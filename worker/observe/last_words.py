"""Log an operator's mistake as its sentence, where Celery and Python would print a traceback.

Celery logs whatever ends a worker or beat with its traceback, and raises it. A mistake in the settings is one
sentence, which says what to change; where in the code it was noticed is of no use. Nor is it where a message
is handed back to the broker, which is no error at all.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from types import TracebackType

from threadsync.errors import InvalidSettings

Kinds = tuple[type[BaseException], ...]


class InASentence(logging.Filter):
    """Filter for a log's handler, and hook for the end of the process, that log mistakes as sentences.

    Args:
        mistakes: errors that are logged as what they say.
        handed_back: errors that Celery logs with their reason, so that their traceback is left out: a batch
            that goes back to the broker has sixty-four of them.
    """

    def __init__(self, mistakes: Kinds = (InvalidSettings,), handed_back: Kinds = ()) -> None:
        super().__init__()
        self._mistakes = mistakes
        self._handed_back = handed_back
        self._told: deque[BaseException] = deque(maxlen=8)

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, self._mistakes):
            self._told.append(error)
            record.msg, record.args, record.exc_info = str(error), (), None
        elif isinstance(error, self._handed_back):
            record.exc_info = None
        return True

    def watch_the_end(self) -> None:
        """Write a mistake that ends this process as a sentence, unless the log has it by then."""
        former = sys.excepthook

        def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            if not isinstance(error, self._mistakes):
                former(kind, error, trace)
            elif not any(error is told for told in self._told):
                sys.stderr.write(f"{error}\n")

        sys.excepthook = hook
