"""``threadsync demo``: Slack requests become rows, while a worker is being killed."""
