"""``make bench``: threadsync beside other task queues, in one run. Method, caveats: benchmarks/README.md."""
