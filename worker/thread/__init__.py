"""What follows a ticket: the permalink of its thread, the thread's text, and its files, each once."""
