"""One file a contender: its tasks, its worker's command line, its client. The list: benchmarks/entries.py."""
