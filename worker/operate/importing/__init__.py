"""Sessions from a file of JSON lines, in batches: what ``threadsync sessions import`` runs."""
