"""Forget people and what they wrote: everywhere that is ours, and in messages that are still on their way."""
