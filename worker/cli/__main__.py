"""``python -m worker.cli``: the command line, for processes that do not know where scripts are."""

from worker.cli import main

main()
