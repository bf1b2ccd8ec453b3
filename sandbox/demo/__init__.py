"""``threadsync demo``: turn Slack requests into sessions and tickets while workers are killed."""
