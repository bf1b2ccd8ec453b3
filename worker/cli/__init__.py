"""The ``threadsync`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. Our own errors are a sentence and exit code 1; others show a traceback."""
    if sys.argv[1:2] == ["worker"]:
        # Alone: a worker's processes keep for good what is loaded here.
        from worker.operate.worker_process import run

        run(sys.argv[2:])
    # Says which extra is missing, if any is.
    from worker.cli.program import app

    # isort: split
    from worker.cli.output import in_lines, speak_any_locale

    speak_any_locale()
    try:
        app()
    except Exception as exc:
        from threadsync.errors import ThreadsyncError

        if not isinstance(exc, ThreadsyncError):
            raise
        sys.stderr.write(f"threadsync: {in_lines(str(exc))}\n")
        sys.exit(1)
