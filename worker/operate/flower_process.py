"""Run Celery's command for Flower without modules of the folder in which it was started.

Celery looks for the application there before it looks where packages are installed. In a folder that others
may write to, such as /tmp, a module of theirs would be run.
"""

from __future__ import annotations

from contextlib import nullcontext

import celery.utils.imports
from celery.__main__ import main

# Before the command, which looks for the application inside of it.
celery.utils.imports.cwd_in_path = nullcontext  # type: ignore[assignment]  # as it is used: with no argument

if __name__ == "__main__":
    main()
