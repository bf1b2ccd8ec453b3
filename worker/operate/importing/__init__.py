"""The import of ``threadsync sessions import``: sessions from a file of JSON lines, in batches."""
