"""``python -m worker.cli``: for processes that know their interpreter, but not where scripts are."""

from worker.cli import main

main()
