"""``make bench``: compare threadsync with other task queues, in one run. Method: benchmarks/README.md."""
